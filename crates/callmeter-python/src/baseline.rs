//! The baseline of `benches/`: a class of the same shape that records nothing, with one look-up of each kill switch
//! and one of the frame. Behind the feature `baseline`, in no wheel that is published.

use pyo3::prelude::*;

use crate::{site, switch};

/// What a call costs whatever is recorded of it.
#[pyclass(module = "callmeter._native")]
#[derive(Default)]
pub(crate) struct BareCall {
    names: Option<[Py<PyAny>; 3]>,
    tokens: (i64, i64),
    hits: (bool, bool),
}

#[pymethods]
impl BareCall {
    #[new]
    fn new(caller: Py<PyAny>, provider: Py<PyAny>, model: Py<PyAny>) -> Self {
        Self {
            names: Some([caller, provider, model]),
            ..Self::default()
        }
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        if switch::is_on(slf.py()) {
            site::of_caller(slf.py());
        }
        slf
    }

    fn __exit__(
        &mut self,
        _kind: &Bound<'_, PyAny>,
        _exception: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> bool {
        false
    }

    #[pyo3(signature = (input=0, output=0))]
    fn set_tokens(&mut self, input: i64, output: i64) {
        self.tokens = (input, output);
    }

    fn set_provider(&mut self, provider: Py<PyAny>) {
        if let Some([_, place, _]) = &mut self.names {
            *place = provider;
        }
    }

    fn set_model(&mut self, model: Py<PyAny>) {
        if let Some([_, _, place]) = &mut self.names {
            *place = model;
        }
    }

    #[pyo3(signature = (hit=true))]
    fn set_cache_hit(&mut self, hit: bool) {
        self.hits.0 = hit;
    }

    #[pyo3(signature = (hit=true))]
    fn set_rag_hit(&mut self, hit: bool) {
        self.hits.1 = hit;
    }
}
