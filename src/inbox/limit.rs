//! How many rows a poll asks for.

pub(super) struct Limit {
    pub(super) rows: usize,
    page: usize,
}

impl Limit {
    /// A whole page, as long as nothing is against it.
    pub(super) fn new(page: usize) -> Self {
        Limit { rows: page, page }
    }

    /// Half as many after a page that was too large or too slow.
    pub(super) fn shrink(&mut self) {
        self.rows = (self.rows / 2).max(1);
    }

    /// Back to whole pages by and by: each step may be one too far.
    pub(super) fn grow(&mut self) {
        self.rows = (self.rows + self.rows / 4 + 1).min(self.page);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_halved_down_to_a_row_and_grows_back_by_a_quarter_to_the_whole() {
        let mut limit = Limit::new(100);
        let halved = || {
            limit.shrink();
            limit.rows
        };
        let halves: Vec<usize> = std::iter::repeat_with(halved).take(7).collect();
        assert_eq!(halves, [50, 25, 12, 6, 3, 1, 1]);
        let grown = || {
            limit.grow();
            limit.rows
        };
        let back: Vec<usize> = std::iter::repeat_with(grown).take(17).collect();
        assert_eq!(back, [2, 3, 4, 6, 8, 11, 14, 18, 23, 29, 37, 47, 59, 74, 93, 100, 100]);
    }
}
