//! Settings from environment variables.

use serde_json::Value;

use super::{ConfigError, Problem, ProducerConfig};

/// Environment variables and the setting each fills. Where two name one setting the first that is
/// present wins.
pub(super) const VARIABLES: &[(&str, &str)] = &[
    ("KAFKA_BROKERS", "bootstrap"),
    ("KAFKA_BOOTSTRAP_SERVERS", "bootstrap"),
    ("KAFKA_TOPIC", "topic"),
    ("DASHSTREAM_TOPIC", "topic"),
    ("KAFKA_TENANT_ID", "tenant"),
    ("KAFKA_SECURITY_PROTOCOL", "security.protocol"),
    ("KAFKA_SASL_MECHANISM", "security.sasl.mechanism"),
    ("KAFKA_SASL_USERNAME", "security.sasl.username"),
    ("KAFKA_SASL_PASSWORD", "security.sasl.password"),
    ("KAFKA_SASL_TOKEN_LOCATION", "security.sasl.token_location"),
    ("KAFKA_SASL_KERBEROS_SERVICE_NAME", "security.sasl.kerberos.service_name"),
    ("KAFKA_SASL_KERBEROS_PRINCIPAL", "security.sasl.kerberos.principal"),
    ("KAFKA_SASL_KERBEROS_KEYTAB", "security.sasl.kerberos.keytab"),
    ("KAFKA_SSL_CA_LOCATION", "security.ssl.ca_location"),
    ("KAFKA_SSL_CERTIFICATE_LOCATION", "security.ssl.certificate_location"),
    ("KAFKA_SSL_KEY_LOCATION", "security.ssl.key_location"),
    ("KAFKA_SSL_KEY_PASSWORD", "security.ssl.key_password"),
    ("KAFKA_SSL_ENDPOINT_ALGORITHM", "security.ssl.endpoint_identification"),
];

impl ProducerConfig {
    /// The settings that environment variables and fields share, each variable with its setting.
    pub const ENVIRONMENT: &[(&str, &str)] = VARIABLES;

    /// Reads the environment over the defaults, and validates.
    ///
    /// # Errors
    /// [`ConfigError`] names the variable (not its value) of everything that is wrong.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// As [`ProducerConfig::from_env`], with the look-up given: for tests, and applications that
    /// keep their environment elsewhere. An empty value counts as absent.
    ///
    /// # Errors
    /// As [`ProducerConfig::from_env`].
    pub fn from_variables(look_up: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        let mut problems: Vec<Problem> = Vec::new();
        let mut filled: Vec<&str> = Vec::new();
        for &(name, key) in VARIABLES {
            let Some(text) = look_up(name).filter(|t| !t.is_empty()) else { continue };
            if filled.contains(&key) {
                continue;
            }
            filled.push(key);
            if let Err(problem) = config.set(key, &Value::String(text)) {
                problems.push(Problem { key: name.to_owned(), ..problem });
            }
        }
        if problems.is_empty() {
            config.validate()?;
            return Ok(config);
        }
        Err(ConfigError { problems })
    }
}
