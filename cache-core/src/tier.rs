//! The two places where entries are kept.

mod l1;
mod l2;

pub use self::{
    l1::{L1, Revision},
    l2::{L2, L2Answer},
};
