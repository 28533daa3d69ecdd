// Owns how bad the world is at a moment of a simulation: rates of faults, latencies, partitions, message loss. The storms of a
// run are drawn from its seed; `calm` ends them all.

import type { Dice } from './dice.ts';

export class Weather {
  /** Share of bucket requests, peer requests and queue sends that fail in some way. */
  bucketFaults = 0;
  peerFaults = 0;
  sendFaults = 0;
  /** Shares of messages lost, delivered twice, delivered again after success, held up. */
  losses = 0;
  duplicates = 0;
  redeliveries = 0;
  delays = 0;
  /** No message at all is delivered. */
  loseEverything = false;
  /** Longest latency of a request; most take far less. */
  latencyMaxMs = 2000;
  readonly #partitions = new Set<string>();

  latencyMs(dice: Dice): number {
    return dice.skewed(1, this.latencyMaxMs);
  }

  partition(a: string, b: string, isOn: boolean): void {
    const key = [a, b].toSorted().join('|');
    if (isOn) this.#partitions.add(key);
    else this.#partitions.delete(key);
  }

  isParted(a: string, b: string): boolean {
    return this.#partitions.has([a, b].toSorted().join('|'));
  }

  calm(): void {
    this.bucketFaults = this.peerFaults = this.sendFaults = 0;
    this.losses = this.duplicates = this.redeliveries = this.delays = 0;
    this.loseEverything = false;
    this.latencyMaxMs = 200;
    this.#partitions.clear();
  }
}

export type Climate = {
  bucketFaults: number;
  peerFaults: number;
  messageFaults: number;
  crashes: number;
  storms: boolean;
  latencyMaxMs: number;
};

/** From sunny to awful. */
export function drawClimate(dice: Dice): Climate {
  const kind = dice.weighted({ sunny: 2, ordinary: 4, bad: 3, awful: 1 });
  const rates = { sunny: 0, ordinary: 0.01, bad: 0.04, awful: 0.12 }[kind];
  return {
    bucketFaults: rates * dice.fraction() * 2,
    peerFaults: rates * dice.fraction() * 3,
    messageFaults: rates * dice.fraction() * 6,
    crashes: kind === 'sunny' ? 0 : rates * 10,
    storms: kind !== 'sunny' && dice.chance(0.7),
    latencyMaxMs: dice.pick([50, 500, 3000, 12_000]),
  };
}

export function setClimate(weather: Weather, climate: Climate): void {
  weather.bucketFaults = climate.bucketFaults;
  weather.peerFaults = climate.peerFaults;
  weather.sendFaults = climate.messageFaults / 4;
  weather.losses = climate.messageFaults;
  weather.duplicates = climate.messageFaults * 2;
  weather.redeliveries = climate.messageFaults;
  weather.delays = climate.messageFaults * 2;
  weather.latencyMaxMs = climate.latencyMaxMs;
}
