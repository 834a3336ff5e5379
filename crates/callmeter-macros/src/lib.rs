//! The attribute `#[callmeter::logged]`: a function whose every call is one row.
//!
//! Owns the rewriting of the function's body; everything that happens at run time is in the crate
//! `callmeter`, which re-exports this macro.

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Expr, Ident, ItemFn, Token, parse_macro_input};

/// The arguments of the attribute: three names, each any expression that gives text.
struct Arguments {
    caller: Expr,
    provider: Expr,
    model: Expr,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let (mut caller, mut provider, mut model) = (None, None, None);
        while !input.is_empty() {
            let name: Ident = input.parse()?;
            input.parse::<Token![=]>()?;
            let value: Expr = input.parse()?;
            let slot = match name.to_string().as_str() {
                "caller" => &mut caller,
                "provider" => &mut provider,
                "model" => &mut model,
                other => {
                    let message =
                        format!("unknown argument `{other}`: expected caller, provider or model");
                    return Err(Error::new(name.span(), message));
                }
            };
            if slot.replace(value).is_some() {
                return Err(Error::new(
                    name.span(),
                    format!("argument `{name}` is given twice"),
                ));
            }
            if input.is_empty() {
                break;
            }
            input.parse::<Token![,]>()?;
        }
        let need = |slot: Option<Expr>, name: &str| {
            slot.ok_or_else(|| {
                input.error(format!("missing argument `{name}`, as in {name} = \"…\""))
            })
        };
        Ok(Self {
            caller: need(caller, "caller")?,
            provider: need(provider, "provider")?,
            model: need(model, "model")?,
        })
    }
}

/// Records every call of a function or async function as one row.
///
/// `caller`, `provider` and `model` are expressions that may use the function's arguments. A `Result`'s
/// `Err` is an error, an async call that is dropped midway is `cancelled`, and usage is read from the
/// returned value (the `Ok` one) where its type implements `callmeter::ReportsUsage`; of a generic type
/// where a bound of the function says so. The value goes through untouched.
///
/// ```text
/// #[callmeter::logged(caller = "sales_copy", provider = "ollama", model = model)]
/// async fn generate(model: &str, prompt: &str) -> Result<Reply, Error> { … }
/// ```
#[proc_macro_attribute]
pub fn logged(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let arguments = parse_macro_input!(arguments as Arguments);
    let function = parse_macro_input!(item as ItemFn);
    expand(&arguments, function)
        .unwrap_or_else(|error| error.to_compile_error())
        .into()
}

fn expand(arguments: &Arguments, function: ItemFn) -> syn::Result<Tokens> {
    let ItemFn {
        attrs,
        vis,
        sig,
        block,
    } = function;
    if let Some(constness) = sig.constness {
        return Err(Error::new(
            constness.span,
            "a const fn makes no calls to record",
        ));
    }
    let Arguments {
        caller,
        provider,
        model,
    } = arguments;
    let output = match &sig.output {
        syn::ReturnType::Default => quote!(()),
        syn::ReturnType::Type(_, returned) if has_impl(returned) => quote!(_),
        syn::ReturnType::Type(_, returned) => quote!(#returned),
    };
    let open = quote! { let __callmeter_call = ::callmeter::call(#caller, #provider, #model); };
    // The value's type stands in the closure, where method resolution can see which traits it
    // implements; see `callmeter::__private`.
    let settle = quote! {
        |__callmeter_call: ::callmeter::CallGuard, __callmeter_value: &#output| {
            #[allow(unused_imports)]
            use ::callmeter::__private::{
                SettleAny as _, SettleResult as _, SettleResultBoth as _, SettleResultClass as _,
                SettleResultUsage as _, SettleUsage as _,
            };
            (&&&&&::callmeter::__private::Probe(__callmeter_value)).settle(__callmeter_call);
        }
    };
    // A return that is never reached tells the type to a body that ends in `?` and `Ok(…)`.
    let typed = if output.to_string() == "_" {
        quote!()
    } else {
        quote! {
            #[allow(unreachable_code, clippy::diverging_sub_expression, clippy::let_unit_value)]
            if false {
                let __callmeter_never: #output = ::core::unreachable!();
                return __callmeter_never;
            }
        }
    };
    let body = if sig.asyncness.is_some() {
        quote! {
            #open
            ::callmeter::__private::run(__callmeter_call, async move { #typed #block }, #settle).await
        }
    } else {
        quote! {
            #open
            ::callmeter::__private::run_blocking(__callmeter_call, move || { #typed #block }, #settle)
        }
    };
    Ok(quote! { #(#attrs)* #vis #sig { #body } })
}

/// Whether a type holds an `impl Trait`, which can be named nowhere else.
fn has_impl(returned: &syn::Type) -> bool {
    quote!(#returned).into_iter().any(token_is_impl)
}

fn token_is_impl(token: proc_macro2::TokenTree) -> bool {
    match token {
        proc_macro2::TokenTree::Ident(ident) => ident == "impl",
        proc_macro2::TokenTree::Group(group) => group.stream().into_iter().any(token_is_impl),
        proc_macro2::TokenTree::Punct(_) | proc_macro2::TokenTree::Literal(_) => false,
    }
}
