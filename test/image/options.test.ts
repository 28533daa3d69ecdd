import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';

import { checkOption, compressionDefault, creationOf, optionNames } from '../../lib/image/options.ts';
import { optionOf, optionRows, overridden, type OptionLevels } from '../../lib/image/options.ts';

const cap = 'rbd_mirroring_max_mirroring_snapshots';
const levels = (site?: string, pool?: string, image?: string): OptionLevels => ({
  site: site === undefined ? {} : { [cap]: site },
  pool: pool === undefined ? {} : { [cap]: pool },
  meta: image === undefined ? {} : { [`conf_${cap}`]: image, owner: 'me' },
});

describe('levels', () => {
  test('the image decides before the pool, the pool before the site', () => {
    expect(optionOf(cap, levels())).toBe(5);
    expect(overridden(cap, levels())).toBeUndefined();
    expect(optionOf(cap, levels('6'))).toBe(6);
    expect(optionOf(cap, levels('6', '7'))).toBe(7);
    expect(optionOf(cap, levels('6', '7', '8'))).toBe(8);
  });

  test('an override that does not parse counts as absent', () => {
    expect(optionOf(cap, levels('6', 'many', '2'))).toBe(6);
  });

  test('an option of new images is not asked of an image', () => {
    const meta = { conf_rbd_default_order: '12' };
    expect(optionOf('rbd_default_order', { site: {}, pool: {}, meta })).toBe(22);
    expect(optionRows('image', { site: {}, pool: {}, meta }).map(({ name }) => name)).not.toContain(
      'rbd_default_order',
    );
  });

  test('a listing says what holds, and who decided', () => {
    const rows = optionRows('image', levels(undefined, '7'));
    expect(rows).toContainEqual({ name: cap, value: '7', source: 'pool' });
    expect(rows).toContainEqual({ name: 'rbd_mirroring_delete_delay', value: '0', source: 'config' });
    expect(optionRows('pool', levels())).toContainEqual({
      name: 'rbd_default_features',
      value: '61',
      source: 'config',
    });
  });

  test('defaults of new images, and how blocks are stored', () => {
    const pool = { rbd_default_order: '20', rbd_compression_hint: 'incompressible' };
    expect(creationOf({}, 'rbd', { site: {}, pool })).toMatchObject({ objectBytes: 2 ** 20 });
    expect(compressionDefault({ site: {}, pool })).toBe('none');
    expect(compressionDefault({ site: {}, pool: {} })).toBe('auto');
  });
});

describe('checks', () => {
  test.each([
    ['rbd_mirroring_max_mirroring_snapshots', '3'],
    ['rbd_mirroring_delete_delay', '86400'],
    ['rbd_move_to_trash_on_remove', 'yes'],
    ['rbd_default_features', 'layering,exclusive-lock'],
    ['rbd_default_features', '61'],
    ['rbd_default_order', '12'],
    ['rbd_default_data_pool', ''],
    ['rbd_compression_hint', 'incompressible'],
  ])('%s takes %s', (name, value) => expect(() => checkOption(name, value, 'pool')).not.toThrow());

  test.each([
    ['rbd_mirroring_max_mirroring_snapshots', '2', 'a whole number from 3 to 1000'],
    ['rbd_mirroring_delete_delay', '-1', 'a whole number from 0'],
    ['rbd_mirroring_delete_delay', '', 'a whole number from 0'],
    ['rbd_move_to_trash_on_remove', 'perhaps', 'true or false'],
    ['rbd_default_features', 'layering,teleport', 'feature names'],
    ['rbd_default_features', '4096', 'feature names'],
    ['rbd_default_order', '26', 'from 12 to 25'],
    ['rbd_default_data_pool', 'a/b', 'the name of a pool'],
    ['rbd_compression_hint', 'zip', 'none, compressible, incompressible'],
    ['rbd_mirror_leader_heartbeat_interval', '5', 'means nothing in farside: there is no daemon'],
    ['rbd_mirror_image_state_check_interval', '5', 'it tunes the rbd-mirror daemon'],
    ['rbd_cache', 'true', 'no librbd cache'],
    ['rbd_teleport', '1', 'invalid config key: rbd_teleport'],
    ['mon_host', '1', 'not rbd option: mon_host'],
    ['rbd___proto__', '1', 'invalid config key'],
  ])('%s does not take "%s"', (name, value, why) => {
    expect(() => checkOption(name, value, 'pool')).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    expect(() => checkOption(name, value, 'pool')).toThrow(why);
  });

  test('what is about new images is not set for one', () => {
    expect(() => checkOption('rbd_default_order', '22', 'image')).toThrow('yet to be made');
  });
});

test('docs/options.md has a row for every option', () => {
  const text = readFileSync(join(import.meta.dirname, '../../docs/options.md'), 'utf8');
  const rows = [...text.matchAll(/^\| `(rbd_\w+)` \|/gm)].map((match) => match[1]);
  expect(rows.filter((name) => (optionNames as string[]).includes(name!))).toEqual(optionNames);
});
