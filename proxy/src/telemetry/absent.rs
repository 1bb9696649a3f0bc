//! What is counted of rows that are certainly absent.

/// What came of looking for a row in the filter of its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AbsentResult {
    /// it is absent, and the answer went out
    Absent,
    /// it is there, perhaps
    Present,
    /// it was announced since, or nothing can be proven
    Announced,
    /// it is absent, but what Postgres says of such a row is not known yet
    Unlearned,
    /// there is no filter yet
    NoFilter,
}

impl AbsentResult {
    /// Every result, in declaration order.
    pub const ALL: [Self; 5] = [Self::Absent, Self::Present, Self::Announced, Self::Unlearned, Self::NoFilter];

    /// The name used in labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Present => "present",
            Self::Announced => "announced",
            Self::Unlearned => "unlearned",
            Self::NoFilter => "no-filter",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_all_is_the_order_of_declaration() {
        assert!(AbsentResult::ALL.iter().enumerate().all(|(i, v)| i == *v as usize));
    }
}
