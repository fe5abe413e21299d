//! Where text goes, and whether it may be coloured or overwritten.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

/// A colour with a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Good.
    Good,
    /// Bad.
    Bad,
    /// Neither.
    Unsure,
    /// Of less weight.
    Faint,
}

/// The two streams of a command.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ui {
    colour: bool,
    progress: bool,
}

impl Ui {
    /// Looks at the environment: colours only on a terminal and without `NO_COLOR`, progress only
    /// when stderr is a terminal.
    pub(crate) fn new() -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            colour: io::stdout().is_terminal() && !no_color && !dumb,
            progress: io::stderr().is_terminal() && !dumb,
        }
    }

    /// The text in a tone, where colours are allowed.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Bad => "31;1",
            Tone::Unsure => "33",
            Tone::Faint => "2",
        };
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Writes a line to stderr.
    pub(crate) fn complain(self, text: &str) {
        self.clear();
        writeln!(io::stderr().lock(), "{}", text.trim_end()).ok();
    }

    /// Replaces the progress line; does nothing when stderr is not a terminal.
    pub(crate) fn progress(self, text: &str) {
        if self.progress {
            let mut err = io::stderr().lock();
            write!(err, "\r\x1b[2K{text}").and_then(|()| err.flush()).ok();
        }
    }

    /// Removes the progress line.
    pub(crate) fn clear(self) {
        self.progress("");
    }
}

/// Why stdout could not be written, the first time.
static UNWRITTEN: Mutex<Option<String>> = Mutex::new(None);

/// Writes to stdout. What cannot be written is told at the end of the command, by [`unwritten`].
pub(crate) fn print(text: &str) {
    let mut out = io::stdout().lock();
    let result = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    // a reader that went away (`| head`) has what it wanted
    if let Err(error) = result
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        let mut slot = UNWRITTEN.lock().unwrap_or_else(PoisonError::into_inner);
        slot.get_or_insert_with(|| error.to_string());
    }
}

/// Why the output is not whole, if it is not.
pub(crate) fn unwritten() -> Option<String> {
    UNWRITTEN.lock().unwrap_or_else(PoisonError::into_inner).take()
}
