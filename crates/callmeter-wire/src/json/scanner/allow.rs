//! What a scanner is told, and whom it tells: the tree of wanted paths, and the visitor.

/// A tree of paths that are worth reading.
pub(crate) trait Allow: Copy + PartialEq {
    /// The node of everything that nobody asked for.
    const SKIP: Self;
    /// The node of a key's value in an object at this node.
    fn child(self, key: &[u8]) -> Self;
    /// The node of an element of an array at this node.
    fn element(self) -> Self;
    /// What is wanted of a value at this node that is no container.
    fn want(self) -> Want;
}

/// What is wanted of a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// Nothing.
    Nothing,
    /// The value.
    Value,
    /// Whether there is a text or a container that is not empty, never what is in it.
    Presence,
    /// The bytes of a text as they come, for a format inside the format.
    Bytes,
}

/// A value at a wanted path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scalar<'a> {
    /// A text, at most its first 512 bytes.
    Text(&'a [u8]),
    /// A number as it was written.
    Number(&'a [u8]),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
    /// Something that is not empty and was not kept.
    Present,
}

/// Who takes the values.
pub(crate) trait Visit<N> {
    /// A scalar at a wanted path.
    fn scalar(&mut self, node: N, value: Scalar<'_>);
    /// A container at a path of the tree begins.
    fn open(&mut self, node: N);
    /// It ends.
    fn close(&mut self, node: N);
    /// Bytes of a text at a path that wants [`Want::Bytes`].
    fn bytes(&mut self, node: N, bytes: &[u8]);
    /// A document ended.
    fn document(&mut self);
}
