//! The system under test: the real program as a separate process, on a real Swarm. Tests reach it only over
//! HTTP.

/// Makes a test of each named function for both shapes: one process and five.
macro_rules! in_both_shapes {
    ($($test:ident)*) => {$(
        mod $test {
            use $crate::support::Shape;

            #[tokio::test(flavor = "multi_thread")]
            async fn in_one_process() {
                super::$test(Shape::OneProcess).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn in_five_processes() {
                super::$test(Shape::FiveProcesses).await;
            }
        }
    )*};
}

pub(crate) use in_both_shapes;

/// The Python of `scripts/fetch-python`, with the packages that the analysts' guide uses.
pub(crate) const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.muster/cache/python/bin");

pub(crate) mod browser;
pub(crate) mod docker;
pub(crate) mod entry;
pub(crate) mod front;
pub(crate) mod log;
pub(crate) mod ports;
pub(crate) mod system;

pub(crate) use entry::{Entry, Kind, ada};
pub(crate) use log::Log;
pub(crate) use system::{Part, Shape, System};
