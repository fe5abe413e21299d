//! A token bucket per tenant.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Tenants with a bucket of their own; the rest share one, so that hostile names cost no memory.
const MAX_TENANTS: usize = 1024;
/// Name of the shared bucket, in metrics too.
pub const OTHER_TENANTS: &str = "_other";

/// What one tenant's bucket let through and what it stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Events let through.
    pub allowed: u64,
    /// Events stopped.
    pub exceeded: u64,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Duration,
    count: Allowance,
}

/// All buckets. Without a rate nothing is counted and everything passes.
#[derive(Debug)]
pub(super) struct Limiter {
    rate: Option<f64>,
    burst: f64,
    buckets: BTreeMap<Arc<str>, Bucket>,
}

impl Limiter {
    /// Buckets start full; the configured tenant's exists from the start.
    pub(super) fn new(rate: Option<f64>, burst: u32, tenant: &str) -> Self {
        let mut limiter = Self { rate, burst: f64::from(burst), buckets: BTreeMap::new() };
        limiter.place(Duration::ZERO, tenant);
        limiter
    }

    /// Makes room for a tenant and says under which name it is kept.
    fn place<'a>(&mut self, now: Duration, tenant: &'a str) -> &'a str {
        if self.buckets.contains_key(tenant) {
            return tenant;
        }
        let name = if self.buckets.len() < MAX_TENANTS { tenant } else { OTHER_TENANTS };
        let fresh = Bucket { tokens: self.burst, at: now, count: Allowance::default() };
        self.buckets.entry(Arc::from(name)).or_insert(fresh);
        name
    }

    /// Takes a token, if there is one.
    pub(super) fn take(&mut self, now: Duration, tenant: &str) -> bool {
        let (Some(rate), burst) = (self.rate, self.burst) else { return true };
        let name = self.place(now, tenant);
        let Some(bucket) = self.buckets.get_mut(name) else { return true };
        let passed = now.saturating_sub(bucket.at).as_secs_f64();
        bucket.tokens = (bucket.tokens + passed * rate).min(burst);
        bucket.at = bucket.at.max(now);
        let enough = bucket.tokens >= 1.0;
        if enough {
            bucket.tokens -= 1.0;
            bucket.count.allowed += 1;
        } else {
            bucket.count.exceeded += 1;
        }
        enough
    }

    /// Counts per tenant, by name.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&Arc<str>, Allowance)> {
        self.buckets.iter().map(|(tenant, bucket)| (tenant, bucket.count))
    }
}
