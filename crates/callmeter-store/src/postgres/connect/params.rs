//! Parameters with their types beside them: a statement whose types are known needs no preparing.

use tokio_postgres::types::{ToSql, Type};

use super::Param;

macro_rules! params {
    ($($name:ident $kind:ident $what:literal,)+) => {$(
        #[doc = concat!("A parameter of type ", $what, ".")]
        pub(crate) fn $name<T: ToSql + Sync>(value: &T) -> Param<'_> {
            (value, Type::$kind)
        }
    )+};
}

params! {
    int8 INT8 "`bigint`",
    int8s INT8_ARRAY "`bigint[]`",
    bools BOOL_ARRAY "`boolean[]`",
    int4s INT4_ARRAY "`integer[]`",
    int2s INT2_ARRAY "`smallint[]`",
    text TEXT "`text`",
    texts TEXT_ARRAY "`text[]`",
    bytea BYTEA "`bytea`",
    byteas BYTEA_ARRAY "`bytea[]`",
}
