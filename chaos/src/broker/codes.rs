//! Kafka error codes that the model broker answers.

/// An error that has no code of its own.
pub const UNKNOWN_SERVER_ERROR: i16 = -1;
/// No error.
pub const NONE: i16 = 0;
/// An offset outside the log.
pub const OFFSET_OUT_OF_RANGE: i16 = 1;
/// A batch whose checksum or structure is wrong.
pub const CORRUPT_MESSAGE: i16 = 2;
/// The topic or partition does not exist.
pub const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
/// The partition has no leader.
pub const LEADER_NOT_AVAILABLE: i16 = 5;
/// Another broker leads the partition.
pub const NOT_LEADER_OR_FOLLOWER: i16 = 6;
/// The batch is larger than the limit.
pub const MESSAGE_TOO_LARGE: i16 = 10;
/// A topic name that Kafka refuses.
pub const INVALID_TOPIC: i16 = 17;
/// Fewer in-sync replicas than `min.insync.replicas`; nothing was appended.
pub const NOT_ENOUGH_REPLICAS: i16 = 19;
/// The same, found out after the append.
pub const NOT_ENOUGH_REPLICAS_AFTER_APPEND: i16 = 20;
/// Metadata beside a committed offset that is too long.
pub const OFFSET_METADATA_TOO_LARGE: i16 = 12;
/// The group cannot be kept.
pub const COORDINATOR_NOT_AVAILABLE: i16 = 15;
/// Another broker coordinates the group.
pub const NOT_COORDINATOR: i16 = 16;
/// acks is none of -1, 0 and 1.
pub const INVALID_REQUIRED_ACKS: i16 = 21;
/// The member belongs to another generation of its group.
pub const ILLEGAL_GENERATION: i16 = 22;
/// The group speaks no protocol that the member knows.
pub const INCONSISTENT_GROUP_PROTOCOL: i16 = 23;
/// A group without a name.
pub const INVALID_GROUP_ID: i16 = 24;
/// The group has no such member.
pub const UNKNOWN_MEMBER_ID: i16 = 25;
/// A session time that Kafka refuses.
pub const INVALID_SESSION_TIMEOUT: i16 = 26;
/// The members are to join again.
pub const REBALANCE_IN_PROGRESS: i16 = 27;
/// The request's version is not served.
pub const UNSUPPORTED_VERSION: i16 = 35;
/// The topic exists already.
pub const TOPIC_ALREADY_EXISTS: i16 = 36;
/// A partition count that Kafka refuses.
pub const INVALID_PARTITIONS: i16 = 37;
/// A replication factor that Kafka refuses.
pub const INVALID_REPLICATION_FACTOR: i16 = 38;
/// The broker that was asked is not the controller.
pub const NOT_CONTROLLER: i16 = 41;
/// A request whose fields make no sense.
pub const INVALID_REQUEST: i16 = 42;
/// Message sets older than record batches.
pub const UNSUPPORTED_FOR_MESSAGE_FORMAT: i16 = 43;
/// What a broker's own rules forbid.
pub const POLICY_VIOLATION: i16 = 44;
/// A sequence number that leaves a gap.
pub const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;
/// An epoch older than the newest one seen.
pub const INVALID_PRODUCER_EPOCH: i16 = 47;
/// The user may not use the topic.
pub const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
/// Transactions are not modelled.
pub const TRANSACTIONAL_ID_AUTHORIZATION_FAILED: i16 = 53;
/// Compression that this request version may not use.
pub const UNSUPPORTED_COMPRESSION_TYPE: i16 = 76;
/// The member is to come back with the id that it is given.
pub const MEMBER_ID_REQUIRED: i16 = 79;
/// There are too many members.
pub const GROUP_MAX_SIZE_REACHED: i16 = 81;
/// A record that breaks a rule of the log.
pub const INVALID_RECORD: i16 = 87;
/// A newer instance of the producer took over.
pub const PRODUCER_FENCED: i16 = 90;
/// No topic has this id.
pub const UNKNOWN_TOPIC_ID: i16 = 100;
