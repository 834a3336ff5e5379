//! async-openai as its users have it: prints, a line of JSON a call, what it says that the call used. Nothing here names an
//! address: the client finds it in its environment.

use std::error::Error;

use async_openai::Client;
use async_openai::error::OpenAIError;
use async_openai::types::chat::{
    ChatCompletionRequestUserMessage, ChatCompletionStreamOptions, CompletionUsage,
    CreateChatCompletionRequest, CreateChatCompletionRequestArgs,
};
use async_openai::types::embeddings::{CreateEmbeddingRequestArgs, EncodingFormat};
use async_openai::types::responses::{CreateResponseArgs, ResponseStreamEvent, ResponseUsage};
use futures::StreamExt;
use serde_json::{Value, json};

/// How often it asks when it is told to slow down, without its user's doing: each is a call.
const TRIES: usize = 4;

type Fallible<T> = Result<T, Box<dyn Error>>;

fn say(call: &str, mut figures: Value) {
    figures["call"] = call.into();
    println!("{figures}");
}

fn of_chat(usage: Option<&CompletionUsage>) -> Value {
    json!({
        "input": usage.map(|usage| usage.prompt_tokens),
        "output": usage.map(|usage| usage.completion_tokens),
        "cache_read": usage.and_then(|usage| usage.prompt_tokens_details.as_ref()?.cached_tokens),
        "reasoning": usage.and_then(|usage| usage.completion_tokens_details.as_ref()?.reasoning_tokens),
    })
}

fn of_response(usage: Option<&ResponseUsage>) -> Value {
    json!({
        "input": usage.map(|usage| usage.input_tokens),
        "output": usage.map(|usage| usage.output_tokens),
        "cache_read": usage.map(|usage| usage.input_tokens_details.cached_tokens),
        "reasoning": usage.map(|usage| usage.output_tokens_details.reasoning_tokens),
    })
}

fn chat(model: &str) -> Fallible<CreateChatCompletionRequest> {
    let message = ChatCompletionRequestUserMessage::from("Hi");
    let mut request = CreateChatCompletionRequestArgs::default();
    Ok(request.model(model).messages([message.into()]).build()?)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Fallible<()> {
    let client = Client::new();
    let answer = client.chat().create(chat("gpt-5")?).await?;
    say("chat", of_chat(answer.usage.as_ref()));
    for (name, options) in [
        ("chat stream, usage not asked", None),
        ("chat stream, usage asked", Some(true)),
    ] {
        let mut request = chat("gpt-5")?;
        request.stream_options = options.map(|asked| ChatCompletionStreamOptions {
            include_usage: Some(asked),
            include_obfuscation: None,
        });
        let mut chunks = client.chat().create_stream(request).await?;
        let (mut usage, mut empty) = (None, 0);
        while let Some(chunk) = chunks.next().await.transpose()? {
            empty += usize::from(chunk.choices.is_empty());
            usage = chunk.usage.or(usage);
        }
        let mut figures = of_chat(usage.as_ref());
        figures["chunks_without_choices"] = empty.into();
        say(name, figures);
    }
    let mut request = CreateResponseArgs::default();
    let answer = client
        .responses()
        .create(request.model("o4-mini").input("Hi").build()?)
        .await?;
    say("response", of_response(answer.usage.as_ref()));
    let request = request.model("gpt-5").build()?;
    let mut events = client.responses().create_stream(request).await?;
    while let Some(event) = events.next().await.transpose()? {
        if let ResponseStreamEvent::ResponseCompleted(end) = event {
            say("response stream", of_response(end.response.usage.as_ref()));
        }
    }
    let mut request = CreateEmbeddingRequestArgs::default();
    request
        .model("text-embedding-3-small")
        .input("Hi")
        .encoding_format(EncodingFormat::Base64);
    let vectors = client.embeddings().create_base64(request.build()?).await?;
    say("embedding", json!({ "input": vectors.usage.prompt_tokens }));
    match client.chat().create(chat("fails-429")?).await {
        Err(OpenAIError::ApiError(error)) => {
            for _ in 0..TRIES {
                say("error", json!({ "status": error.status_code.as_u16() }));
            }
        }
        other => return Err(format!("no error of the API: {other:?}").into()),
    }
    Ok(())
}
