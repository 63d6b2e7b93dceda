import {
  type BodyFields,
  bodyFormat,
  encodeRequest,
  invalidField,
  JsonBody,
  readBodyFields,
  requiredField,
} from "./json-body.ts"
import type { JsonField } from "./json-scan.ts"
import type { ChatRequest, DeepReadonly } from "./openai.ts"

/** A chat request as its bytes; the object is made when somebody asks for it. */
export class ChatBody extends JsonBody<ChatRequest> {
  readonly stream: boolean

  /** Use `readChatBody`: it is what checks the bytes. */
  constructor(fields: BodyFields) {
    super(fields)
    const stream = fields.byKey.get("stream")
    this.stream = stream !== undefined && fields.bytes[stream.start] === LETTER_T
  }

  get operation(): "chat" {
    return "chat"
  }

  /** For requests that a plugin has changed. @throws GatewayError `invalid_request` */
  static fromObject(request: DeepReadonly<ChatRequest>): ChatBody {
    return readChatBody(encodeRequest(request))
  }

  /** How the client is answered was settled by its own request. @throws GatewayError `invalid_request` */
  replacedBy(request: object): ChatBody {
    return ChatBody.fromObject({ ...(request as DeepReadonly<ChatRequest>), stream: this.stream })
  }
}

/** @throws GatewayError `invalid_json`, or `invalid_request` with the field at fault */
export function readChatBody(received: Uint8Array<ArrayBuffer>): ChatBody {
  const fields = readBodyFields(received, FORMAT)
  if (isEmptyArray(fields.bytes, requiredField(fields.byKey, "messages"))) {
    throw invalidField("messages", "must have at least one message")
  }
  return new ChatBody(fields)
}

const LETTER_T = 0x74
const CLOSE_ARRAY = 0x5d

const FORMAT = bodyFormat({
  kinds: {
    model: ["string"],
    messages: ["array"],
    audio: ["object"],
    frequency_penalty: ["number"],
    function_call: ["string", "object"],
    functions: ["array"],
    logit_bias: ["object"],
    logprobs: ["boolean"],
    max_completion_tokens: ["number"],
    max_tokens: ["number"],
    metadata: ["object"],
    modalities: ["array"],
    n: ["number"],
    parallel_tool_calls: ["boolean"],
    presence_penalty: ["number"],
    reasoning_effort: ["string"],
    response_format: ["object"],
    seed: ["number"],
    service_tier: ["string"],
    stop: ["string", "array"],
    store: ["boolean"],
    stream: ["boolean"],
    stream_options: ["object"],
    temperature: ["number"],
    tool_choice: ["string", "object"],
    tools: ["array"],
    top_logprobs: ["number"],
    top_p: ["number"],
    user: ["string"],
  },
  required: ["model", "messages"],
  deciding: ["stream"],
})

function isEmptyArray(bytes: Uint8Array, { start }: JsonField): boolean {
  let at = start + 1
  while ((bytes[at] as number) <= 0x20) at++
  return bytes[at] === CLOSE_ARRAY
}
