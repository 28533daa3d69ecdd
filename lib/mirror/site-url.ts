// Owns which addresses a site may have. Keys and tokens are sent there as bearers, so it is never in the clear over a network.

const loopbackHosts = new Set(['localhost', '127.0.0.1', '[::1]']);
const charsMax = 2048;

/** `insecure`: neither https nor on this machine. `credentials`: user, password, query or fragment, which have no place in it. */
type SiteUrlFault = 'malformed' | 'insecure' | 'credentials';

/** Undefined: fit to be a site's address. */
export function siteUrlFault(text: string): SiteUrlFault | undefined {
  const url = text.length > charsMax ? null : URL.parse(text);
  if (url === null) return 'malformed';
  if (!isPrivateWay(url)) return 'insecure';
  return url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '' ? 'credentials' : undefined;
}

/** Nobody on a network reads along. */
const isPrivateWay = (url: URL): boolean =>
  url.protocol === 'https:' || (url.protocol === 'http:' && loopbackHosts.has(url.hostname));
