//! Prices from other projects' files.

/// A price as its provider prints it: what floating-point arithmetic or a division left is taken back. `None` for what
/// is no price.
///
/// ```
/// use callmeter_price::import::printed;
/// assert_eq!(printed("2.9999900000000002").as_deref(), Some("3"));
/// assert_eq!(printed("0.0833333333333333").as_deref(), Some("0.25/3"));
/// ```
pub fn printed(text: &str) -> Option<String> {
    crate::amount::Decimal::parse(text).map(crate::amount::Decimal::printed)
}
