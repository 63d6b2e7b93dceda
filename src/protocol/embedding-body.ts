import { type InputFault, inputFault } from "./embedding-input.ts"
import {
  bodyFormat,
  encodeRequest,
  givenField,
  invalidField,
  JsonBody,
  readBodyFields,
  requiredField,
} from "./json-body.ts"
import { type JsonField, readString } from "./json-scan.ts"
import type { DeepReadonly, EmbeddingRequest } from "./openai.ts"

/** A request for embeddings as its bytes; the object is made when somebody asks for it. */
export class EmbeddingBody extends JsonBody<EmbeddingRequest> {
  get operation(): "embeddings" {
    return "embeddings"
  }

  get stream(): false {
    return false
  }

  /** For requests that a plugin has changed. @throws GatewayError `invalid_request` */
  replacedBy(request: DeepReadonly<object>): EmbeddingBody {
    return readEmbeddingBody(encodeRequest(request))
  }
}

/** @throws GatewayError `invalid_json`, or `invalid_request` with the field at fault */
export function readEmbeddingBody(received: Uint8Array<ArrayBuffer>): EmbeddingBody {
  const fields = readBodyFields(received, FORMAT)
  const { bytes, byKey } = fields
  const fault = inputFault(bytes, requiredField(byKey, "input"))
  if (fault !== undefined) throw invalidField("input", INPUT_FAULTS[fault])
  checkEncoding(bytes, givenField(byKey, "encoding_format"))
  checkDimensions(bytes, givenField(byKey, "dimensions"))
  return new EmbeddingBody(fields)
}

const FORMAT = bodyFormat({
  kinds: {
    model: ["string"],
    input: ["string", "array"],
    encoding_format: ["string"],
    dimensions: ["number"],
    user: ["string"],
  },
  required: ["model", "input"],
})

const INPUT_FAULTS = {
  empty: "must not be empty",
  mixed: "must be a text, a list of texts, a list of token numbers, or a list of such lists",
} as const satisfies Record<InputFault, string>

function checkEncoding(bytes: Uint8Array, field: JsonField | undefined): void {
  if (field === undefined) return
  const encoding = readString(bytes, field)
  if (encoding === "float" || encoding === "base64") return
  throw invalidField(
    "encoding_format",
    `must be "float" or "base64", got ${JSON.stringify(encoding.slice(0, 40))}`,
  )
}

function checkDimensions(bytes: Uint8Array, field: JsonField | undefined): void {
  if (field === undefined) return
  const text = new TextDecoder().decode(bytes.subarray(field.start, field.end))
  const dimensions = Number(text)
  if (Number.isInteger(dimensions) && dimensions > 0) return
  throw invalidField("dimensions", `must be a whole number above 0, got ${text.slice(0, 40)}`)
}
