// Owns the reading of a site's address from the command line.

import { FarsideError } from '../../errors.ts';
import { siteUrlFault } from '../../mirror/site-url.ts';

export function parseSiteUrl(text: string | undefined): string {
  const fault = text === undefined ? 'malformed' : siteUrlFault(text);
  if (fault !== undefined) throw new FarsideError('EINVAL', urlFaults[fault]);
  return new URL(text!).href.replace(/\/$/, '');
}

const urlFaults = {
  malformed: 'site address was not specified: give --url https://…',
  insecure: 'the address of a site begins with https://',
  credentials: 'the address of a site holds no credentials: give the token with --token-file',
};
