// Owns the version that a site tells about itself.

export const version = '0.1.0';
