// XML of Ceph's shapes, read as scripts read it: by XPath. The expressions are of the kind that Ceph's own test scripts use.

import { DOMParser } from '@xmldom/xmldom';
import { describe, expect, test } from 'vitest';
import xpath from 'xpath';
import { loadCommands } from '../../lib/cli/commands/index.ts';
import { formatXml, type XmlShape } from '../../lib/cli/output/xml.ts';
import { xmlShapes } from '../../lib/cli/output/xml-shapes.ts';

const commands = await loadCommands();

function select(expression: string, xml: string): unknown {
  const document = new DOMParser().parseFromString(xml, 'text/xml') as unknown as globalThis.Node;
  return xpath.select(`string(${expression})`, document);
}

const written = (value: unknown, shape: XmlShape): string => formatXml(value, shape, { pretty: false });

describe('layout', () => {
  const info = {
    mode: 'image',
    peers: [
      { uuid: 'u-1', direction: 'rx-tx' },
      { uuid: 'u-2', direction: 'tx-only' },
    ],
  };

  test('one line', () => {
    expect(written(info, xmlShapes.poolInfo)).toBe(
      '<mirror><mode>image</mode><peers><peer><uuid>u-1</uuid><direction>rx-tx</direction></peer>' +
        '<peer><uuid>u-2</uuid><direction>tx-only</direction></peer></peers></mirror>\n',
    );
  });

  test('pretty: a line for each element, one space a level', () => {
    expect(formatXml({ mode: 'image', peers: [] }, xmlShapes.poolInfo, { pretty: true })).toBe(
      '<mirror>\n <mode>image</mode>\n <peers></peers>\n</mirror>\n',
    );
  });

  test('an empty text, array or object is an element with an end', () => {
    const value = { last_update: '', states: {}, images: [] };
    expect(written(value, xmlShapes.poolStatus)).toBe(
      '<status><last_update></last_update><states></states><images></images></status>\n',
    );
  });
});

describe('content', () => {
  const texts = [`a < b & "c" > 'd'`, ']]>', '<name>', '&amp;', ' spaced ', 'ünïcode €', 'line\nbreak', '\u{1f4be}'];
  test.each(texts)('%j is read back as it was', (text) => {
    expect(select('/image/name', written({ name: text }, xmlShapes.info))).toBe(text);
    expect(select('/image/name', formatXml({ name: text }, xmlShapes.info, { pretty: true }))).toBe(text);
  });

  test('what XML cannot hold is replaced, and keys that are no names are made some', () => {
    expect(select('/image/name', written({ name: 'a\u0000\u001bb' }, xmlShapes.info))).toBe('a??b');
    const meta = { conf_rbd_cache: 'true', '.rbd_mirror.x': '1', 'my key': '2', '9lives': '3', 'a<b>': '4' };
    const xml = written(meta, xmlShapes.imageMeta);
    expect(select('/metadatas/conf_rbd_cache', xml)).toBe('true');
    expect(select('/metadatas/*[3]', xml)).toBe('2');
    expect(select('count(/metadatas/*)', xml)).toBe('5');
  });

  test('numbers and truth values are texts', () => {
    const xml = written({ size: 134217728, mirroring: { primary: false } }, xmlShapes.info);
    expect(select('//image/size', xml)).toBe('134217728');
    expect(select('//image/mirroring/primary', xml)).toBe('false');
  });
});

describe('what scripts look for', () => {
  test('pool info: a peer by its site', () => {
    const peers = [
      { uuid: 'u-1', site_name: 'site-b' },
      { uuid: 'u-2', site_name: 'site-c' },
    ];
    expect(select("//peers/peer[site_name='site-c']/uuid", written({ peers }, xmlShapes.poolInfo))).toBe('u-2');
  });

  test('pool status: an image by its name, the daemons, the states', () => {
    const status = {
      summary: { health: 'OK', states: { replaying: 2 } },
      daemons: [{ service_id: '1', leader: true, callouts: ['not reporting status'] }],
      images: [
        { name: 'one', state: 'up+stopped', last_update: '2026-11-23 07:06:09' },
        { name: 'two', state: 'up+replaying', peer_sites: [{ site_name: 'site-a', state: 'up+stopped' }] },
      ],
    };
    const xml = written(status, xmlShapes.poolStatus);
    expect(select("//status/images/image[name='two']/state", xml)).toBe('up+replaying');
    expect(select("//images/image[name='one']/last_update", xml)).toBe('2026-11-23 07:06:09');
    expect(select('count(//status/images/image)', xml)).toBe('2');
    expect(select('//status/summary/states/replaying', xml)).toBe('2');
    expect(select('//daemons/daemon/callouts/callout', xml)).toBe('not reporting status');
    expect(select("//image[name='two']/peer_sites/peer_site/site_name", xml)).toBe('site-a');
  });

  test('snapshots: the newest that is complete, and what it copies', () => {
    const mirrored = (complete: boolean, primarySnapId: number): object => ({
      type: 'mirror',
      mirror_peer_uuids: ['p'],
      complete,
      primary_snap_id: primarySnapId,
    });
    const list = [
      { id: 3, name: 's', namespace: { type: 'user' } },
      { id: 4, name: '.mirror.4', namespace: mirrored(true, 7) },
      { id: 5, name: '.mirror.5', namespace: mirrored(false, 8) },
    ];
    const xml = written(list, xmlShapes.snapshots);
    const newest = "(//snapshots/snapshot[namespace/complete='true'])[last()]";
    expect(select(`${newest}/id`, xml)).toBe('4');
    expect(select(`${newest}/namespace/primary_snap_id`, xml)).toBe('7');
    expect(select(`${newest}/namespace/mirror_peer_uuids/peer_uuid`, xml)).toBe('p');
    expect(select('//snapshot/name', xml)).toBe('s');
  });

  test('image status: the image is the root', () => {
    const xml = written({ name: 'one', state: 'up+replaying', snapshots: [{ id: 4 }] }, xmlShapes.imageStatus);
    expect(select('/image/state', xml)).toBe('up+replaying');
    expect(select('/image/snapshots/snapshot/id', xml)).toBe('4');
  });

  test('images: by name; or with their snapshots between them', () => {
    expect(select("count(//images[name='two'])", written(['one', 'two'], xmlShapes.images))).toBe('1');
    const long = [
      { image: 'one', size: 1 },
      { image: 'one', snapshot: 's', size: 1 },
      { image: 'two', size: 2 },
    ];
    const xml = written(long, xmlShapes.images);
    expect(select("//images/image[image='two']/size", xml)).toBe('2');
    expect(select('name(/images/*[2])', xml)).toBe('snapshot');
  });

  test('schedules', () => {
    const item = { interval: '1d', start_time: '14:00:00-05:00' };
    expect(select('/items/item/interval', written([item], xmlShapes.scheduleItems))).toBe('1d');
    const levels = [
      { pool: '-', items: [] },
      { pool: 'rbd', items: [item] },
    ];
    const xml = written(levels, xmlShapes.scheduleLevels);
    expect(select("//schedules/schedule[pool='rbd']/items/item/start_time", xml)).toBe('14:00:00-05:00');
    const due = [{ schedule_time: '2026-11-23 07:09:00', image: 'rbd/one' }];
    expect(
      select("//scheduled_images/image[image='rbd/one']/schedule_time", written(due, xmlShapes.scheduleStatus)),
    ).toBe('2026-11-23 07:09:00');
  });
});

test('an array whose elements have no name is a bug, not a guess', () => {
  expect(() => written({ strange: [1] }, { root: 'x' })).toThrow('strange');
});

test('every shape is used by a command', () => {
  const used = new Set(commands.map((command) => command.xml));
  const unused = Object.entries(xmlShapes).filter(
    ([, shape]) => !used.has(shape) && shape !== xmlShapes.scheduleLevels,
  );
  expect(unused).toEqual([]);
});
