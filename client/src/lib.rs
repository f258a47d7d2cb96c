//! How our programs talk to the API server and to the outside world.
//!
//! Owns what the operator, the agent and the CLI must do alike: clients without hidden retries
//! ([`connect`]), calls with a bound and a class of error ([`call`]), the API server's own clock
//! ([`server_time`]), the clocks of this machine ([`clock`]), the small HTTP server for probes and
//! metrics ([`serve`]) and logs ([`telemetry`]), which API servers are spoken to ([`version`]) and
//! what proves that an admission policy is in force ([`admission`]).
//! It decides nothing and knows none of our kinds.

pub mod admission;
pub mod call;
pub mod clock;
pub mod connect;
pub mod serve;
pub mod server_time;
pub mod simulate;
pub mod stand_in;
pub mod telemetry;
pub mod version;

pub use call::{CallError, ErrorClass, bounded};
pub use connect::{ConnectError, ConnectOptions, client, install_crypto_provider};
pub use telemetry::chain;
