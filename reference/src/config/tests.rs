use super::*;

#[test]
fn the_defaults_are_valid() {
    assert_eq!(ProducerConfig::default().validate(), Ok(()));
}
