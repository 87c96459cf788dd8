//! How far the index that callers see is ahead of the source's, which may have started again from a lower
//! one: four bytes in each entry.
//!
//! Pure. A lead must be large enough, and may be larger: so only its 26 highest bits are kept, rounded up,
//! and up to 67 million it is exact.

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Lead(u32);

const SHIFT_BITS: u32 = 6;
const DIGITS: u32 = u32::BITS - SHIFT_BITS;

impl Lead {
    /// The least one that is as long as this.
    pub(crate) fn at_least(lead: u64) -> Self {
        let mut shift = (u64::BITS - lead.leading_zeros()).saturating_sub(DIGITS);
        let mut digits = shifted_up(lead, shift);
        if digits >> DIGITS != 0 {
            // Rounding has added a digit.
            shift += 1;
            digits = shifted_up(lead, shift);
        }
        // 26 bits, whatever the lead.
        Self((u32::try_from(digits).unwrap_or(u32::MAX) << SHIFT_BITS) | shift)
    }

    pub(crate) fn get(self) -> u64 {
        let shift = self.0 & ((1 << SHIFT_BITS) - 1);
        // Beyond 64 bits only at the very end of what indexes can be.
        u64::try_from(u128::from(self.0 >> SHIFT_BITS) << shift).unwrap_or(u64::MAX)
    }
}

/// `lead` without its last `shift` bits, rounded up.
fn shifted_up(lead: u64, shift: u32) -> u64 {
    (lead >> shift) + u64::from(lead & ((1 << shift) - 1) != 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn leads_are_exact_as_far_as_there_are_digits() {
        for lead in [0, 1, 5, 1_000_000, (1 << 26) - 1, 1 << 26, 1 << 40, 1 << 63] {
            assert_eq!(Lead::at_least(lead).get(), lead);
        }
        assert_eq!(Lead::at_least(u64::MAX).get(), u64::MAX);
    }

    proptest! {
        #[test]
        fn a_lead_is_never_too_short_and_hardly_too_long(lead in any::<u64>(), bits in 0_u32..64) {
            let lead = lead >> bits;
            let kept = Lead::at_least(lead).get();
            prop_assert!(kept >= lead);
            prop_assert!(kept - lead <= lead >> 25);
            prop_assert_eq!(Lead::at_least(kept).get(), kept, "it stays as it is");
        }
    }
}
