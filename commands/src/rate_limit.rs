//! Rate limits: a token bucket for each client or owner, in bounded memory.

use std::{
    collections::HashMap,
    hash::Hash,
    mem,
    str::FromStr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The number of keys in each of the two generations.
const GENERATION_KEYS: usize = 32 * 1024;

/// A rate limit: a burst at once, then a steady rate. Its text is `RATE/UNIT,BURST` with the unit `s`, `min` or `h`:
/// `50/s,200`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateLimit {
    burst: u32,
    per_second: f64,
}

/// The error for a text that is not a rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write a rate as RATE/UNIT,BURST with the unit s, min or h, and both numbers above 0: \"50/s,200\"")]
pub struct RateLimitError;

/// The same rate limit for each of many keys.
///
/// The limiter remembers the most recent keys: at least one generation of them, at most two. A forgotten key has a full
/// bucket again, so a client needs a whole generation of other keys to get around its limit.
#[derive(Debug)]
pub(crate) struct RateLimiter<K> {
    rate: RateLimit,
    generations: Mutex<KeyGenerations<K>>,
}

/// The moment at which the bucket of each key is full again. A full young generation becomes the old one.
#[derive(Debug)]
struct KeyGenerations<K> {
    young: HashMap<K, Instant>,
    old: HashMap<K, Instant>,
}

impl RateLimit {
    /// The default for a client address. At an event, a whole room of people shares one address.
    pub const BY_ADDRESS: Self = Self { burst: 200, per_second: 50.0 };

    /// The default for submissions of one owner.
    pub const BY_OWNER: Self = Self { burst: 20, per_second: 10.0 / 60.0 };

    /// Creates a limit of `burst` requests at once, and `per_second` requests per second after that.
    ///
    /// # Errors
    /// [`RateLimitError`] if one of the two is not above 0.
    pub fn new(per_second: f64, burst: u32) -> Result<Self, RateLimitError> {
        let refills = per_second.is_finite() && per_second >= 1e-6;
        if refills && burst > 0 { Ok(Self { burst, per_second }) } else { Err(RateLimitError) }
    }

    /// Returns a tenth of this limit.
    pub(crate) fn tenth(self) -> Self {
        Self { burst: (self.burst / 10).max(1), per_second: self.per_second / 10.0 }
    }

    /// Takes one token at `now` from the bucket that is full at `full_at`. Returns the moment at which the bucket is full
    /// again, or the time to wait if it is empty.
    fn take(self, full_at: Option<Instant>, now: Instant) -> Result<Instant, Duration> {
        let missing = full_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        let missing = missing + Duration::from_secs_f64(1.0 / self.per_second);
        let capacity = Duration::from_secs_f64(f64::from(self.burst) / self.per_second);
        // The sum of many tokens has more rounding errors than the capacity.
        match missing.checked_sub(capacity + Duration::from_micros(1)) {
            None | Some(Duration::ZERO) => Ok(now + missing),
            Some(wait) => Err(wait),
        }
    }
}

impl FromStr for RateLimit {
    type Err = RateLimitError;

    fn from_str(text: &str) -> Result<Self, RateLimitError> {
        let (rate, burst) = text.split_once(',').ok_or(RateLimitError)?;
        let (count, unit) = rate.split_once('/').ok_or(RateLimitError)?;
        let seconds = match unit.trim() {
            "s" => 1.0,
            "min" => 60.0,
            "h" => 3600.0,
            _ => return Err(RateLimitError),
        };
        let count: f64 = count.trim().parse().map_err(|_| RateLimitError)?;
        Self::new(count / seconds, burst.trim().parse().map_err(|_| RateLimitError)?)
    }
}

impl<K: Hash + Eq> RateLimiter<K> {
    pub(crate) fn new(rate: RateLimit) -> Self {
        let generations = KeyGenerations { young: HashMap::new(), old: HashMap::new() };
        Self { rate, generations: Mutex::new(generations) }
    }

    /// Takes one token of `key`.
    ///
    /// # Errors
    /// The time to wait until `key` has a token again.
    pub(crate) fn take(&self, key: K, now: Instant) -> Result<(), Duration> {
        let mut generations = self.generations();
        let full_at = self.rate.take(generations.full_at(&key), now)?;
        let KeyGenerations { young, old } = &mut *generations;
        if young.len() >= GENERATION_KEYS {
            *old = mem::take(young);
        }
        young.insert(key, full_at);
        Ok(())
    }

    /// Looks whether `key` has a token, and takes none.
    ///
    /// # Errors
    /// The time to wait until `key` has a token again.
    pub(crate) fn look(&self, key: &K, now: Instant) -> Result<(), Duration> {
        self.rate.take(self.generations().full_at(key), now).map(drop)
    }

    fn generations(&self) -> MutexGuard<'_, KeyGenerations<K>> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq> KeyGenerations<K> {
    fn full_at(&self, key: &K) -> Option<Instant> {
        self.young.get(key).or_else(|| self.old.get(key)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(rate: &str) -> RateLimiter<u32> {
        RateLimiter::new(rate.parse().unwrap())
    }

    #[test]
    fn a_burst_is_taken_at_once_and_then_one_token_for_each_refill() {
        let (limiter, start) = (limiter("10/s,3"), Instant::now());
        let taken = (0..5).filter(|_| limiter.take(1, start).is_ok()).count();
        assert_eq!(taken, 3);

        let wait = limiter.take(1, start).unwrap_err();
        assert!(wait > Duration::from_millis(99) && wait <= Duration::from_millis(100), "{wait:?}");
        let later = start + Duration::from_millis(101);
        assert_eq!(limiter.take(1, later), Ok(()));
        assert!(limiter.take(1, later).is_err());
    }

    #[test]
    fn a_look_takes_nothing() {
        let (limiter, now) = (limiter("1/h,1"), Instant::now());
        assert!((0..3).all(|_| limiter.look(&1, now).is_ok()));
        assert_eq!(limiter.take(1, now), Ok(()));
        assert_eq!(limiter.look(&1, now), limiter.take(1, now));
        assert_eq!(limiter.look(&2, now), Ok(()));
    }

    #[test]
    fn a_bucket_holds_no_more_than_its_burst_however_long_it_fills() {
        let (limiter, start) = (limiter("1/min,2"), Instant::now());
        let rested = start + Duration::from_secs(86_400);
        assert_eq!((0..5).filter(|_| limiter.take(1, rested).is_ok()).count(), 2);
    }

    #[test]
    fn each_key_has_a_bucket_of_its_own() {
        let (limiter, now) = (limiter("1/h,1"), Instant::now());
        assert_eq!(limiter.take(1, now), Ok(()));
        assert!(limiter.take(1, now).is_err());
        assert_eq!(limiter.take(2, now), Ok(()));
    }

    #[test]
    fn memory_is_bounded_and_the_newest_keys_are_remembered() {
        let (limiter, now) = (limiter("1/h,1"), Instant::now());
        let keys = u32::try_from(3 * GENERATION_KEYS).unwrap();
        for key in 0..keys {
            assert_eq!(limiter.take(key, now), Ok(()));
        }
        assert!(limiter.take(keys - 1, now).is_err());
        let generations = limiter.generations.lock().unwrap();
        assert!(generations.young.len() + generations.old.len() <= 2 * GENERATION_KEYS);
    }

    #[test]
    fn rates_are_read_from_text() {
        assert_eq!("50/s,200".parse(), RateLimit::new(50.0, 200));
        assert_eq!(" 30 / min , 5 ".parse(), RateLimit::new(0.5, 5));
        for wrong in ["", "50", "50/s", "50/s,0", "0/s,1", "-1/s,1", "NaN/s,1", "50/d,1", "50/s,x"] {
            assert_eq!(wrong.parse::<RateLimit>(), Err(RateLimitError), "{wrong}");
        }
    }
}
