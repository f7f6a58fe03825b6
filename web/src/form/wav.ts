// Audio as a WAV file, which every server can read. Browsers record in various formats.

const BITS = 16;

/** Return a recording as WAV: PCM, 16 bits. Throws if the browser cannot decode the recording. */
export async function toWav(recording: Blob, name: string): Promise<File> {
  const context = new AudioContext();
  try {
    const sound = await context.decodeAudioData(await recording.arrayBuffer());
    return new File([wavOf(sound)], name, { type: "audio/wav" });
  } finally {
    await context.close();
  }
}

function wavOf(sound: AudioBuffer): ArrayBuffer {
  const { numberOfChannels: channels, sampleRate, length } = sound;
  const frame = channels * (BITS / 8);
  const view = new DataView(new ArrayBuffer(44 + length * frame));
  const text = (at: number, letters: string): void => {
    for (let index = 0; index < letters.length; index += 1) {
      view.setUint8(at + index, letters.charCodeAt(index));
    }
  };
  text(0, "RIFF");
  view.setUint32(4, view.byteLength - 8, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); // bytes from here to "data"
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, channels, true);
  view.setUint32(24, sampleRate, true);
  view.setUint32(28, sampleRate * frame, true);
  view.setUint16(32, frame, true);
  view.setUint16(34, BITS, true);
  text(36, "data");
  view.setUint32(40, length * frame, true);
  for (let channel = 0; channel < channels; channel += 1) {
    const samples = sound.getChannelData(channel);
    for (let index = 0; index < length; index += 1) {
      const sample = Math.max(-1, Math.min(1, samples[index]!));
      view.setInt16(44 + index * frame + channel * 2, Math.round(sample * 32_767), true);
    }
  }
  return view.buffer as ArrayBuffer;
}
