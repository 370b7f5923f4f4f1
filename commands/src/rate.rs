//! How often somebody may ask: a bucket of tokens for each, in bounded memory.

use std::{
    collections::HashMap,
    hash::Hash,
    mem,
    str::FromStr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How many keys each of the two generations holds.
const GENERATION: usize = 32 * 1024;

/// So many at once, and then so many a second. As text `RATE/UNIT,BURST`, the
/// unit being `s`, `min` or `h`: `50/s,200`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    burst: u32,
    per_second: f64,
}

/// Why a text is not a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a rate is written RATE/UNIT,BURST with a unit of s, min or h, and both above 0: \"50/s,200\"")]
pub struct RateError;

/// One rate for each of many keys.
///
/// It remembers the keys that asked most recently: at least as many as a
/// generation holds, at most twice as many. A key that is forgotten starts
/// afresh, so to get around a limit takes a generation of other keys.
#[derive(Debug)]
pub(crate) struct Limiter<K> {
    rate: Rate,
    generations: Mutex<Generations<K>>,
}

/// For each key, the moment at which its bucket is full again.
#[derive(Debug)]
struct Generations<K> {
    young: HashMap<K, Instant>,
    old: HashMap<K, Instant>,
}

impl Rate {
    /// What one address may ask unless it is set otherwise: at an event a
    /// whole room sits behind one.
    pub const BY_ADDRESS: Self = Self { burst: 200, per_second: 50.0 };

    /// What may be submitted of one owner unless it is set otherwise.
    pub const BY_OWNER: Self = Self { burst: 20, per_second: 10.0 / 60.0 };

    /// `burst` at once, then `per_second`.
    ///
    /// # Errors
    /// When either is not above 0.
    pub fn new(per_second: f64, burst: u32) -> Result<Self, RateError> {
        let refills = per_second.is_finite() && per_second >= 1e-6;
        if refills && burst > 0 { Ok(Self { burst, per_second }) } else { Err(RateError) }
    }

    /// When the bucket is full again that was full at `full_at` and gives one
    /// token at `now`; or how long to wait until it has one.
    fn take(self, full_at: Option<Instant>, now: Instant) -> Result<Instant, Duration> {
        let missing = full_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        let missing = missing + Duration::from_secs_f64(1.0 / self.per_second);
        let capacity = Duration::from_secs_f64(f64::from(self.burst) / self.per_second);
        // The sum of many tokens is rounded, the capacity only once.
        match missing.checked_sub(capacity + Duration::from_micros(1)) {
            None | Some(Duration::ZERO) => Ok(now + missing),
            Some(wait) => Err(wait),
        }
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let (rate, burst) = text.split_once(',').ok_or(RateError)?;
        let (count, unit) = rate.split_once('/').ok_or(RateError)?;
        let seconds = match unit.trim() {
            "s" => 1.0,
            "min" => 60.0,
            "h" => 3600.0,
            _ => return Err(RateError),
        };
        let count: f64 = count.trim().parse().map_err(|_| RateError)?;
        Self::new(count / seconds, burst.trim().parse().map_err(|_| RateError)?)
    }
}

impl<K: Hash + Eq> Limiter<K> {
    pub(crate) fn new(rate: Rate) -> Self {
        let generations = Generations { young: HashMap::new(), old: HashMap::new() };
        Self { rate, generations: Mutex::new(generations) }
    }

    /// Takes one of the key's tokens.
    ///
    /// # Errors
    /// How long to wait for the next one.
    pub(crate) fn take(&self, key: K, now: Instant) -> Result<(), Duration> {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let Generations { young, old } = &mut *generations;
        let full_at = self.rate.take(young.get(&key).or_else(|| old.get(&key)).copied(), now)?;
        if young.len() >= GENERATION {
            *old = mem::take(young);
        }
        young.insert(key, full_at);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(rate: &str) -> Limiter<u32> {
        Limiter::new(rate.parse().unwrap())
    }

    #[test]
    fn a_burst_is_taken_at_once_and_then_one_for_each_that_flows_in() {
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
    fn a_bucket_holds_no_more_than_its_burst_however_long_it_fills() {
        let (limiter, start) = (limiter("1/min,2"), Instant::now());
        let rested = start + Duration::from_secs(86_400);
        assert_eq!((0..5).filter(|_| limiter.take(1, rested).is_ok()).count(), 2);
    }

    #[test]
    fn one_key_does_not_pay_for_another() {
        let (limiter, now) = (limiter("1/h,1"), Instant::now());
        assert_eq!(limiter.take(1, now), Ok(()));
        assert!(limiter.take(1, now).is_err());
        assert_eq!(limiter.take(2, now), Ok(()));
    }

    #[test]
    fn memory_is_bounded_and_the_newest_keys_are_remembered() {
        let (limiter, now) = (limiter("1/h,1"), Instant::now());
        let keys = u32::try_from(3 * GENERATION).unwrap();
        for key in 0..keys {
            assert_eq!(limiter.take(key, now), Ok(()));
        }
        assert!(limiter.take(keys - 1, now).is_err());
        let generations = limiter.generations.lock().unwrap();
        assert!(generations.young.len() + generations.old.len() <= 2 * GENERATION);
    }

    #[test]
    fn rates_are_read_from_text() {
        assert_eq!("50/s,200".parse(), Rate::new(50.0, 200));
        assert_eq!(" 30 / min , 5 ".parse(), Rate::new(0.5, 5));
        for wrong in ["", "50", "50/s", "50/s,0", "0/s,1", "-1/s,1", "NaN/s,1", "50/d,1", "50/s,x"] {
            assert_eq!(wrong.parse::<Rate>(), Err(RateError), "{wrong}");
        }
    }
}
