package snap

import (
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"canopy/internal/disk"
)

const (
	// windowBytes is how far back the zstd encoder looks, and how much the decoder must keep. Records resemble those just
	// before them: a larger window makes the file no smaller, and takes a quarter more time.
	windowBytes     = 64 << 10
	decoderBytesMax = 8 << 20 // most bytes that a stream can make the decoder keep
)

// encode writes a whole file.
func encode(f disk.File, m Meta, write func(w io.Writer) error) error {
	blocks := newBlockWriter(f, m)
	z, err := zstd.NewWriter(blocks, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(windowBytes), zstd.WithEncoderCRC(false))
	if err != nil {
		return err
	}
	plain := &counter{w: z}
	if err := write(plain); err != nil {
		return errors.Join(err, z.Close())
	}
	if err := z.Close(); err != nil {
		return err
	}
	return blocks.finish(plain.n)
}

// decode checks a whole file while read reads its plain bytes.
func decode(f disk.File, name string, m Meta, read func(r io.Reader) error) error {
	blocks, err := newBlockReader(f, name, m)
	if err != nil {
		return err
	}
	z, err := zstd.NewReader(blocks, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(decoderBytesMax),
		zstd.WithDecoderMaxWindow(decoderBytesMax))
	if err != nil {
		return blocks.blame(err)
	}
	defer z.Close()
	plain := &plainReader{z: z, blocks: blocks}
	err = read(plain)
	if plain.err == nil && err == nil {
		_, err = io.Copy(io.Discard, plain)
	}
	if plain.err != nil && plain.err != io.EOF {
		return plain.err
	}
	return err
}

// blame turns an error of the decoder into one that says what is wrong with the file.
func (r *blockReader) blame(err error) error {
	if r.err != nil && r.err != io.EOF {
		return r.err
	}
	return r.corrupt(headerBytes, fmt.Sprintf("its stream is not as zstd writes one (%v)", err))
}

// plainReader returns plain bytes, and io.EOF only after a footer whose count is right.
type plainReader struct {
	z      *zstd.Decoder
	blocks *blockReader
	n      uint64
	err    error
}

// Read implements io.Reader.
func (p *plainReader) Read(b []byte) (int, error) {
	if p.err != nil {
		return 0, p.err
	}
	n, err := p.z.Read(b)
	p.n += uint64(n)
	if err == nil {
		return n, nil
	}
	if p.err = io.EOF; err != io.EOF {
		p.err = p.blocks.blame(err)
	} else if p.blocks.err != io.EOF {
		p.err = p.blocks.blame(io.ErrUnexpectedEOF)
	} else if p.n != p.blocks.plain {
		p.err = p.blocks.corrupt(p.blocks.size, fmt.Sprintf("it holds %d plain bytes, its footer says %d", p.n, p.blocks.plain))
	}
	return n, p.err
}

// counter counts the bytes that are written.
type counter struct {
	w io.Writer
	n uint64
}

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += uint64(n)
	return n, err
}
