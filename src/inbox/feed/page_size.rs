//! How many rows a poll asks for.

pub(in crate::inbox) struct Limit {
    pub(in crate::inbox) rows: usize,
    page: usize,
}

impl Limit {
    /// A whole page, as long as nothing is against it.
    pub(in crate::inbox) fn new(page: usize) -> Self {
        Limit { rows: page, page }
    }

    /// A quarter as many after a page that was too large or too slow: in few steps to one, since each may bring 32 MiB.
    pub(in crate::inbox) fn shrink(&mut self) {
        self.rows = (self.rows / 4).max(1);
    }

    /// Back to whole pages by and by: each step may be one too far.
    pub(in crate::inbox) fn grow(&mut self) {
        self.rows = (self.rows + self.rows / 4 + 1).min(self.page);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_quartered_down_to_a_row_and_grows_back_by_a_quarter_to_the_whole() {
        let mut limit = Limit::new(100);
        let quartered = || {
            limit.shrink();
            limit.rows
        };
        let quarters: Vec<usize> = std::iter::repeat_with(quartered).take(5).collect();
        assert_eq!(quarters, [25, 6, 1, 1, 1]);
        let grown = || {
            limit.grow();
            limit.rows
        };
        let back: Vec<usize> = std::iter::repeat_with(grown).take(17).collect();
        assert_eq!(back, [2, 3, 4, 6, 8, 11, 14, 18, 23, 29, 37, 47, 59, 74, 93, 100, 100]);
    }
}
