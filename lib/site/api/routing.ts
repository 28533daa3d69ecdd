// Owns what all route files share: how an app is made, how answers and bodies are declared.

import { OpenAPIHono, type z } from '@hono/zod-openapi';

import { FarsideError } from '../../errors.ts';
import type { ImageSpec } from '../../image/deps.ts';
import type { ApiEnv } from './access.ts';
import { errorSchema } from './schemas.ts';

export type Api = OpenAPIHono<ApiEnv>;

/** Refusals of the validators become EINVAL that names the field. */
export const newApi = (): Api =>
  new OpenAPIHono<ApiEnv>({
    defaultHook: (result) => {
      if (result.success) return undefined;
      const issue = result.error.issues[0];
      throw new FarsideError(
        'EINVAL',
        `invalid ${result.target}: ${issue?.path.join('.') || 'the whole'}: ${issue?.message ?? 'malformed'}`,
      );
    },
  });

const json = <S extends z.ZodType>(schema: S) => ({ 'application/json': { schema } });

const failure = { description: 'What went wrong: an errno name and a sentence.', content: json(errorSchema) };

/** 200 with JSON. */
export const ok = <S extends z.ZodType>(schema: S, description: string) => ({
  200: { description, content: json(schema) },
  default: failure,
});
/** 201 with JSON. */
export const made = <S extends z.ZodType>(schema: S, description: string) => ({
  201: { description, content: json(schema) },
  default: failure,
});
/** 204. */
export const done = (description: string) => ({ 204: { description }, default: failure });

export const body = <S extends z.ZodType>(schema: S) => ({ required: true, content: json(schema) });
/** A body that may be missing; its schema accepts `{}`. */
export const optionalBody = <S extends z.ZodType>(schema: S) => ({ required: false, content: json(schema) });

type ImageRequest = { pool: string; image: string };

export const specOf = (
  { pool, image }: ImageRequest,
  { namespace, byId }: { namespace: string; byId?: 'true' | 'false' | undefined },
  snap?: string,
): ImageSpec => ({
  pool,
  namespace,
  image,
  ...(snap === undefined ? {} : { snap }),
  ...(byId === 'true' ? { byId: true } : {}),
});
