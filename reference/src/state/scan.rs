//! Splits canonical JSON text at the commas, colons and brackets of one container.

/// Where in a JSON text the scanner is, relative to the container it splits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scanner {
    nest: usize,
    in_string: bool,
    escaped: bool,
}

impl Scanner {
    /// The length of the input up to the next `,`, `:`, `}` or `]` that belongs to the container
    /// itself, or `None` if there is none in it. That byte is not taken.
    pub(super) fn next_stop(&mut self, input: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(rest) = input.get(at..).filter(|rest| !rest.is_empty()) {
            if self.in_string {
                at += self.skip_string(rest);
                continue;
            }
            let stop = rest
                .iter()
                .position(|byte| matches!(byte, b'"' | b',' | b':' | b'{' | b'[' | b'}' | b']'))?;
            at += stop;
            match rest.get(stop) {
                Some(b'"') => self.in_string = true,
                Some(b'{' | b'[') => self.nest += 1,
                _ if self.nest == 0 => return Some(at),
                Some(b'}' | b']') => self.nest -= 1,
                _ => {}
            }
            at += 1;
        }
        None
    }

    /// How much of the text is string, closing quote included.
    fn skip_string(&mut self, text: &[u8]) -> usize {
        let mut at = 0;
        if self.escaped {
            self.escaped = false;
            at = 1;
        }
        while let Some(found) =
            text.get(at..).and_then(|rest| rest.iter().position(|b| matches!(b, b'"' | b'\\')))
        {
            at += found;
            if text.get(at) == Some(&b'"') {
                self.in_string = false;
                return at + 1;
            }
            if at + 1 == text.len() {
                self.escaped = true;
            }
            at += 2;
        }
        text.len()
    }
}
