//! What the client last said about its connections, typed.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::types::RDKafkaErrorCode;

use super::token::{Fetched, Token, TokenFile};
use crate::core::{ConnectionProblem, ConnectionTrouble};

/// A problem that was not told again for so long gives way to whatever is told. librdkafka repeats
/// an error at least every thirty seconds while it lasts.
const STALE: Duration = Duration::from_secs(70);
/// Tokens of the past that are still cut out of texts.
const TOKENS_KEPT: usize = 3;

/// What a code and librdkafka's words say. Only the words tell what happened where librdkafka
/// calls it no more than a lost connection.
fn classify(code: RDKafkaErrorCode, text: &str) -> ConnectionTrouble {
    use ConnectionTrouble as T;
    match code {
        RDKafkaErrorCode::Authentication if text.contains("acquire SASL OAUTHBEARER token") => {
            T::Token
        }
        RDKafkaErrorCode::Authentication => T::Authentication,
        // the socket under TLS failed, and not TLS. A broker that refuses a certificate and ends
        // the connection may show so, too; its alert outweighs it when it comes.
        RDKafkaErrorCode::SSL if is_of_the_socket(text) => lost(text),
        RDKafkaErrorCode::SSL => T::Tls,
        RDKafkaErrorCode::BrokerTransportFailure => lost(text),
        RDKafkaErrorCode::Resolve => T::Resolve,
        RDKafkaErrorCode::AllBrokersDown => T::AllBrokersDown,
        RDKafkaErrorCode::TopicAuthorizationFailed
        | RDKafkaErrorCode::ClusterAuthorizationFailed => T::Authorization,
        _ => T::Other,
    }
}

/// What a lost connection is about. librdkafka names its own state, as `SSL_HANDSHAKE`, in each of
/// these texts: of a connection that the other side ended it says when, of any other nothing.
fn lost(text: &str) -> ConnectionTrouble {
    // an alert is the other side's own word about TLS; and what fails at librdkafka's first look at
    // a handshake comes as a lost connection, in the words of the TLS library alone
    let handshake = text.contains("in state SSL_HANDSHAKE");
    if text.contains(" alert ") || (handshake && text.contains(":SSL routines:")) {
        return ConnectionTrouble::Tls;
    }
    if !is_disconnect(text) {
        return ConnectionTrouble::Unreachable;
    }
    // the state and not the words, which depend on who is faster: librdkafka's sentence about TLS
    // and a port that has none does not come where the end is there before its first look
    let unspoken = ["in state CONNECT", "in state APIVERSION_QUERY"];
    if handshake || unspoken.iter().any(|state| text.contains(state)) || at_once(text) {
        ConnectionTrouble::ClosedAtOnce
    } else {
        ConnectionTrouble::Unreachable
    }
}

fn is_of_the_socket(text: &str) -> bool {
    text.contains("SSL transport error") || text.contains(":system library:")
}

fn is_disconnect(text: &str) -> bool {
    ["Disconnected", "Connection reset", "Broken pipe"].iter().any(|word| text.contains(word))
}

/// Ended within two seconds after it was thought to be up: what a listener does that demands SASL.
fn at_once(text: &str) -> bool {
    let Some((before, _)) = text.split_once("ms in state UP") else { return false };
    let ms = before.rsplit(|c: char| !c.is_ascii_digit()).next();
    ms.and_then(|ms| ms.parse::<u32>().ok()).is_some_and(|ms| ms < 2_000)
}

/// Kept per route, over rebuilds of the client.
#[derive(Default)]
pub(super) struct ConnectionState {
    inner: Mutex<Inner>,
    tokens: Option<TokenFile>,
}

#[derive(Default)]
struct Inner {
    problem: Option<(ConnectionProblem, Instant)>,
    /// The token was not renewed. It outlives confirmations: it is about what comes.
    stale: Option<ConnectionProblem>,
    /// The event seen by the first of the two calls that rdkafka 0.39 makes per event.
    half_seen: Option<(RDKafkaErrorCode, String)>,
    /// Longest first: one may be a part of another.
    secrets: Vec<String>,
    /// Tokens among them, oldest first.
    tokens: Vec<String>,
}

impl Inner {
    fn hide(&mut self, secret: String) {
        if !secret.is_empty() && !self.secrets.contains(&secret) {
            self.secrets.push(secret);
            self.secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        }
    }

    fn hide_token(&mut self, token: &str) {
        if self.tokens.last().is_some_and(|last| last == token) {
            return;
        }
        self.tokens.push(token.to_owned());
        self.hide(token.to_owned());
        if self.tokens.len() > TOKENS_KEPT {
            let gone = self.tokens.remove(0);
            self.secrets.retain(|secret| *secret != gone);
        }
    }

    fn redact(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, s| text.replace(s.as_str(), "***"))
    }

    /// Keeps what says the most, as long as it is still told.
    fn keep(&mut self, now: Instant, problem: &ConnectionProblem) {
        let weight = problem.trouble.weight();
        let outweighed = self.problem.as_ref().is_some_and(|(old, at)| {
            old.trouble.weight() > weight && now.saturating_duration_since(*at) < STALE
        });
        if !outweighed {
            self.problem = Some((problem.clone(), now));
        }
    }
}

impl ConnectionState {
    /// `secrets` never appear in a problem's text.
    pub(super) fn new(secrets: Vec<String>, tokens: Option<TokenFile>) -> Self {
        let mut inner = Inner::default();
        for secret in secrets {
            inner.hide(secret);
        }
        Self { inner: Mutex::new(inner), tokens }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an error callback. `None` for the second call about the same event.
    pub(super) fn error(
        &self,
        now: Instant,
        code: RDKafkaErrorCode,
        text: &str,
    ) -> Option<ConnectionProblem> {
        let mut inner = self.inner();
        if inner.half_seen.as_ref().is_some_and(|(c, t)| *c == code && t == text) {
            inner.half_seen = None;
            return None;
        }
        inner.half_seen = Some((code, text.to_owned()));
        let problem = ConnectionProblem { trouble: classify(code, text), text: inner.redact(text) };
        inner.keep(now, &problem);
        Some(problem)
    }

    /// Notes a log line about a connection that ended: librdkafka makes no error of those, and a
    /// listener that demands TLS or SASL shows in nothing else.
    pub(super) fn ended(&self, now: Instant, line: &str) {
        let trouble = lost(line);
        if trouble == ConnectionTrouble::ClosedAtOnce {
            let mut inner = self.inner();
            let problem = ConnectionProblem { trouble, text: inner.redact(line) };
            inner.keep(now, &problem);
        }
    }

    /// The token to show to brokers; that it was not renewed is a problem from then on.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn token(&self, now_ms: i64) -> Result<Token, String> {
        let tokens = self.tokens.as_ref().ok_or("the settings name no file with a token")?;
        let problem = |text| ConnectionProblem { trouble: ConnectionTrouble::Token, text };
        let fetched = tokens.fetch(now_ms);
        let mut inner = self.inner();
        let Fetched { token, stale } = match fetched {
            Ok(fetched) => fetched,
            Err(why) => {
                inner.stale = Some(problem(why.clone()));
                return Err(why);
            }
        };
        inner.hide_token(&token.text);
        if let Some(why) = &stale {
            tracing::warn!(target: "librdkafka", "the token is not renewed: {why}");
        }
        inner.stale = stale.map(problem);
        Ok(token)
    }

    /// A broker confirmed something: whatever was wrong is over.
    pub(super) fn confirmed(&self) {
        let mut inner = self.inner();
        if inner.problem.is_some() {
            inner.problem = None;
        }
    }

    pub(super) fn problem(&self) -> Option<ConnectionProblem> {
        let inner = self.inner();
        let told = inner.problem.as_ref().map(|(problem, _)| problem);
        // a token that is not renewed is refused in the end: that is why, and not the credentials
        let explained = inner.stale.is_some();
        let specific = told.filter(|problem| {
            problem.trouble.is_specific()
                && !(explained && problem.trouble == ConnectionTrouble::Authentication)
        });
        specific.or(inner.stale.as_ref()).or(told).cloned()
    }

    pub(super) fn redact(&self, text: &str) -> String {
        self.inner().redact(text)
    }
}

/// True for a line that says how a connection ended.
pub(super) fn is_end(facility: &str, line: &str) -> bool {
    facility == "FAIL" && is_disconnect(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ConnectionTrouble as T;

    const DOWN: RDKafkaErrorCode = RDKafkaErrorCode::AllBrokersDown;
    const AUTH: RDKafkaErrorCode = RDKafkaErrorCode::Authentication;
    const LOST: RDKafkaErrorCode = RDKafkaErrorCode::BrokerTransportFailure;

    /// Every error as rdkafka tells it, twice, ten milliseconds apart.
    fn after(errors: &[(RDKafkaErrorCode, &str)]) -> ConnectionState {
        let state = ConnectionState::default();
        let mut now = Instant::now();
        for (code, text) in errors {
            state.error(now, *code, text);
            state.error(now, *code, text);
            now += Duration::from_millis(10);
        }
        state
    }

    fn trouble(errors: &[(RDKafkaErrorCode, &str)]) -> ConnectionTrouble {
        after(errors).problem().unwrap().trouble
    }

    #[test]
    fn the_second_call_about_an_event_is_not_another_event() {
        let state = ConnectionState::default();
        let now = Instant::now();
        let seen: Vec<bool> =
            (0..6).map(|_| state.error(now, DOWN, "1/1 brokers are down").is_some()).collect();
        assert_eq!(seen, [true, false, true, false, true, false]);
    }

    #[test]
    fn what_says_less_does_not_hide_what_says_more() {
        let down = (DOWN, "1/1 brokers are down");
        let refused = (LOST, "Connect to ipv4#127.0.0.1:9 failed: Connection refused");
        assert_eq!(trouble(&[(AUTH, "invalid credentials"), refused, down]), T::Authentication);
        assert_eq!(trouble(&[refused, down]), T::Unreachable);
        assert_eq!(trouble(&[down, refused]), T::Unreachable);
        assert_eq!(trouble(&[down]), T::AllBrokersDown);
    }

    #[test]
    fn what_is_not_told_any_more_gives_way() {
        let state = after(&[(AUTH, "invalid credentials")]);
        state.error(Instant::now() + STALE, DOWN, "1/1 brokers are down");
        assert_eq!(state.problem().unwrap().trouble, T::AllBrokersDown);
    }

    #[test]
    fn an_alert_of_the_broker_is_about_tls() {
        let text = "ssl://127.0.0.1:9/bootstrap: Disconnected: ssl/record/rec_layer_s3.c:1590: \
                    error:0A00045C:SSL routines:ssl3_read_bytes:tlsv13 alert certificate \
                    required: SSL alert number 116 (after 4ms in state APIVERSION_QUERY)";
        assert_eq!(trouble(&[(LOST, text), (DOWN, "1/1 brokers are down")]), T::Tls);
    }

    #[test]
    fn what_fails_at_the_first_look_at_a_handshake_is_about_tls_and_a_broken_record_is_not() {
        let text = "ssl://127.0.0.1:9/bootstrap: error:0A000086:SSL routines::certificate verify \
                    failed (after 0ms in state SSL_HANDSHAKE)";
        assert_eq!(trouble(&[(LOST, text), (DOWN, "1/1 brokers are down")]), T::Tls);
        let text = "ssl://127.0.0.1:9/1: Receive failed: error:0A000119:SSL routines::decryption \
                    failed or bad record mac (after 90000ms in state UP)";
        assert_eq!(trouble(&[(LOST, text)]), T::Unreachable);
    }

    #[test]
    fn a_broker_that_ends_in_a_handshake_is_no_problem_of_tls() {
        for (text, expected) in [
            (
                "ssl://127.0.0.1:9/1: SSL handshake failed: Disconnected: SSL connection closed by \
                 peer: connecting to a PLAINTEXT broker listener? (after 3ms in state \
                 SSL_HANDSHAKE)",
                T::ClosedAtOnce,
            ),
            (
                "ssl://127.0.0.1:9/1: SSL handshake failed: Disconnected: connection reset by \
                 peer: connecting to a PLAINTEXT broker listener? (after 3ms in state \
                 SSL_HANDSHAKE)",
                T::ClosedAtOnce,
            ),
            (
                "ssl://127.0.0.1:9/1: Disconnected: SSL connection closed by peer (after 0ms in \
                 state SSL_HANDSHAKE)",
                T::ClosedAtOnce,
            ),
            (
                "ssl://127.0.0.1:9/1: Disconnected: connection reset by peer (after 0ms in state \
                 SSL_HANDSHAKE)",
                T::ClosedAtOnce,
            ),
            (
                "ssl://127.0.0.1:9/1: SSL transport error: Broken pipe (after 0ms in state \
                 SSL_HANDSHAKE)",
                T::ClosedAtOnce,
            ),
            (
                "ssl://127.0.0.1:9/1: Connection setup timed out in state SSL_HANDSHAKE (after \
                 1000ms in state SSL_HANDSHAKE)",
                T::Unreachable,
            ),
            (
                "sasl_ssl://tls.example:9/1: Connect to ipv4#127.0.0.1:9 failed: Connection \
                 refused (after 0ms in state CONNECT)",
                T::Unreachable,
            ),
            (
                "ssl://127.0.0.1:9/1: Connect to ipv4#127.0.0.1:9 failed: Connection reset by peer \
                 (after 0ms in state CONNECT)",
                T::ClosedAtOnce,
            ),
            ("127.0.0.1:9/1: Disconnected (after 90000ms in state UP)", T::Unreachable),
        ] {
            assert_eq!(trouble(&[(LOST, text)]), expected, "{text}");
        }
    }

    #[test]
    fn a_connection_that_broke_under_tls_is_no_problem_of_tls() {
        for pipe in ["SSL transport error:", "error:80000020:system library::"] {
            let text = format!(
                "ssl://127.0.0.1:9/1: SSL handshake failed: {pipe} Broken pipe (after 0ms in state \
                 SSL_HANDSHAKE)"
            );
            assert_eq!(trouble(&[(RDKafkaErrorCode::SSL, &text)]), T::ClosedAtOnce);
        }
        let text = "ssl://127.0.0.1:9/1: SSL handshake failed: SSL transport error: Connection \
                    timed out (after 9ms in state SSL_HANDSHAKE)";
        assert_eq!(trouble(&[(RDKafkaErrorCode::SSL, text)]), T::Unreachable);
    }

    #[test]
    fn a_listener_that_ends_the_connection_at_once_is_told_from_the_log() {
        for line in [
            "[thrd:127.0.0.1:9/bootstrap]: 127.0.0.1:9/bootstrap: Disconnected (after 2ms in \
             state APIVERSION_QUERY)",
            "[thrd:127.0.0.1:9/bootstrap]: 127.0.0.1:9/bootstrap: Disconnected (after 12ms in \
             state UP)",
            "[thrd:127.0.0.1:9/bootstrap]: 127.0.0.1:9/bootstrap: Send failed: Broken pipe (after \
             2ms in state UP)",
            "[thrd:ssl://127.0.0.1:9/bootstrap]: ssl://127.0.0.1:9/bootstrap: Disconnected: during \
             SSL connection handshake (after 1ms in state SSL_HANDSHAKE)",
        ] {
            assert!(is_end("FAIL", line));
            let state = after(&[(DOWN, "1/1 brokers are down")]);
            state.ended(Instant::now(), line);
            state.error(Instant::now(), DOWN, "1/1 brokers are down");
            assert_eq!(state.problem().unwrap().trouble, T::ClosedAtOnce, "{line}");
        }
        let state = ConnectionState::default();
        for end in ["Disconnected", "Send failed: Broken pipe"] {
            state.ended(Instant::now(), &format!("1: {end} (after 2000ms in state UP)"));
            assert_eq!(state.problem(), None);
        }
    }

    #[test]
    fn a_token_that_cannot_be_had_is_no_wrong_password() {
        let text = "Failed to acquire SASL OAUTHBEARER token: /run/token: it is empty";
        assert_eq!(trouble(&[(AUTH, text), (DOWN, "1/1 brokers are down")]), T::Token);
    }

    #[test]
    fn a_confirmation_ends_the_problem() {
        let state = after(&[(DOWN, "1/1 brokers are down")]);
        state.confirmed();
        assert_eq!(state.problem(), None);
    }

    #[test]
    fn secrets_are_cut_out_of_the_text_whole_although_one_is_part_of_another() {
        let secrets = ["hunter2", "", "hunter2-and-more"].map(str::to_owned).to_vec();
        let state = ConnectionState::new(secrets, None);
        state.error(Instant::now(), AUTH, "alice with hunter2-and-more and hunter2 failed");
        assert_eq!(state.problem().unwrap().text, "alice with *** and *** failed");
    }

    #[test]
    fn a_token_that_is_not_renewed_is_a_problem_until_it_is_and_tokens_are_cut_out() {
        let path = std::env::temp_dir().join(format!("token-state-{}", std::process::id()));
        let write = |token: &str, until: i64| {
            let text = format!("{{\"token\":\"{token}\",\"expires_at_ms\":{until}}}");
            std::fs::write(&path, text).unwrap();
        };
        write("token-number-one", 5_000);
        let state = ConnectionState::new(Vec::new(), Some(TokenFile::new(&path)));
        state.token(1_000).ok().unwrap();
        assert_eq!(state.problem(), None);
        state.token(4_200).ok().unwrap();
        state.confirmed();
        let problem = state.problem().unwrap();
        assert_eq!(problem.trouble, T::Token);
        assert!(problem.text.contains("was not renewed"), "{}", problem.text);
        state.error(Instant::now(), AUTH, "{\"status\":\"invalid_token\"}");
        assert_eq!(state.problem().unwrap().trouble, T::Token);
        state.confirmed();
        write("token-number-two", 9_000);
        state.token(4_600).ok().unwrap();
        assert_eq!(state.problem(), None);
        let shown = state.redact("token-number-one, then token-number-two");
        assert_eq!(shown, "***, then ***");
        std::fs::remove_file(path).unwrap();
    }
}
