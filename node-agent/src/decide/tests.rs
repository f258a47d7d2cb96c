//! The table of faults.md G6, row by row, and every fault that bends it.

pub(crate) mod builders;
mod commit;
mod drains;
mod faults;
mod people;
mod rows;
mod ways;
