// Clients for node as their users have them: each prints, a line of JSON a call, what it says that the call used.
// `node clients.mjs NAME` runs one of them. Nothing here names an address: the clients find it in their environment.

const OVER = 'fails-429';
const say = (call, figures) => console.log(JSON.stringify({ call, ...figures }));
const messages = [{ role: 'user', content: 'Hi' }];

async function collect(stream) {
  const all = [];
  for await (const item of stream) all.push(item);
  return all;
}

async function openai() {
  const { default: OpenAI } = await import('openai');
  const client = new OpenAI({ maxRetries: 0 });
  const chat = (usage) => ({
    input: usage?.prompt_tokens ?? null,
    output: usage?.completion_tokens ?? null,
    reasoning: usage?.completion_tokens_details?.reasoning_tokens,
  });
  const response = (usage) => ({
    input: usage.input_tokens,
    output: usage.output_tokens,
    reasoning: usage.output_tokens_details?.reasoning_tokens,
  });
  say('chat', chat((await client.chat.completions.create({ model: 'gpt-5', messages })).usage));
  const chunks = await collect(await client.chat.completions.create({ model: 'gpt-5', messages, stream: true }));
  say('chat stream, usage not asked', {
    ...chat(chunks.find((chunk) => chunk.usage)?.usage),
    chunks_without_choices: chunks.filter((chunk) => !chunk.choices.length).length,
  });
  say('response', response((await client.responses.create({ model: 'o4-mini', input: 'Hi' })).usage));
  const events = await collect(await client.responses.create({ model: 'gpt-5', input: 'Hi', stream: true }));
  say('response stream', response(events.find((event) => event.type === 'response.completed').response.usage));
  const vectors = await client.embeddings.create({ model: 'text-embedding-3-small', input: 'Hi' });
  say('embedding', { input: vectors.usage.prompt_tokens });
  await client.chat.completions.create({ model: OVER, messages }).catch((error) => say('error', { status: error.status }));
}

async function anthropic() {
  const { default: Anthropic } = await import('@anthropic-ai/sdk');
  const client = new Anthropic({ maxRetries: 0 });
  const request = { model: 'claude-sonnet-5', max_tokens: 9, messages };
  const figures = (usage) => ({
    input: usage.input_tokens + (usage.cache_read_input_tokens ?? 0) + (usage.cache_creation_input_tokens ?? 0),
    output: usage.output_tokens,
    cache_read: usage.cache_read_input_tokens,
    cache_write: usage.cache_creation_input_tokens,
  });
  say('message', figures((await client.messages.create(request)).usage));
  say('message stream', figures((await client.messages.stream(request).finalMessage()).usage));
  await client.messages.create({ ...request, model: OVER }).catch((error) => say('error', { status: error.status }));
}

async function ai() {
  const { generateText, streamText } = await import('ai');
  const { openai } = await import('@ai-sdk/openai');
  const { anthropic } = await import('@ai-sdk/anthropic');
  const figures = (usage) => ({ input: usage.inputTokens, output: usage.outputTokens });
  const prompt = 'Hi';
  const models = [
    ['response', openai('gpt-5')],
    ['chat', openai.chat('gpt-5')],
    ['message', anthropic('claude-sonnet-5')],
  ];
  for (const [name, model] of models) {
    say(name, figures((await generateText({ model, prompt, maxRetries: 0 })).usage));
    const stream = streamText({ model, prompt, maxRetries: 0 });
    await stream.consumeStream();
    say(`${name} stream`, figures(await stream.usage));
  }
}

// A model on this machine, which answers in the shapes of both: twice each, so that it reads from its cache.
async function local() {
  const { default: OpenAI } = await import('openai');
  const { default: Anthropic } = await import('@anthropic-ai/sdk');
  const [client, other] = [new OpenAI({ maxRetries: 0 }), new Anthropic({ maxRetries: 0 })];
  const asked = [{ role: 'user', content: 'Name a fruit.' }];
  const request = { model: 'gemma3-270m', max_tokens: 16, messages: asked };
  const question = { model: 'gemma3-270m', input: 'Name a fruit.', max_output_tokens: 16 };
  const chat = (usage) => ({
    input: usage?.prompt_tokens ?? null,
    output: usage?.completion_tokens ?? null,
    cache_read: usage?.prompt_tokens_details?.cached_tokens,
  });
  const response = (usage) => ({
    input: usage.input_tokens,
    output: usage.output_tokens,
    cache_read: usage.input_tokens_details?.cached_tokens,
  });
  const message = (usage) => ({
    input: usage.input_tokens + (usage.cache_read_input_tokens ?? 0) + (usage.cache_creation_input_tokens ?? 0),
    output: usage.output_tokens,
    cache_read: usage.cache_read_input_tokens,
  });
  for (let round = 0; round < 2; round += 1) {
    say('chat', chat((await client.chat.completions.create(request)).usage));
    for (const [name, options] of [['not asked', {}], ['asked', { stream_options: { include_usage: true } }]]) {
      const chunks = await collect(await client.chat.completions.create({ ...request, ...options, stream: true }));
      say(`chat stream, usage ${name}`, {
        ...chat(chunks.find((chunk) => chunk.usage)?.usage),
        chunks_without_choices: chunks.filter((chunk) => !chunk.choices.length).length,
      });
    }
    say('response', response((await client.responses.create(question)).usage));
    const events = await collect(await client.responses.create({ ...question, stream: true }));
    say('response stream', response(events.find((event) => event.type === 'response.completed').response.usage));
    say('message', message((await other.messages.create(request)).usage));
    say('message stream', message((await other.messages.stream(request).finalMessage()).usage));
  }
  const tooLong = [{ role: 'user', content: 'fruit '.repeat(4_000) }];
  await client.chat.completions
    .create({ ...request, messages: tooLong })
    .catch((error) => say('error', { status: error.status }));
}

await { openai, anthropic, ai, local }[process.argv[2]]();
