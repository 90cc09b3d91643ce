package wal

import (
	"fmt"
	"io"

	"canopy/internal/disk"
)

// reader reads the frames of one segment, and decides what the first bad frame means.
type reader struct {
	log     *Log // its chain, states and last index follow the frames
	segment segment
	window  window
	at      int64 // end of the last good frame, or the start of the frames; batch <= at <= bad
	batch   int64 // where the batch of that frame opens
	bad     int64 // where the first bad frame is or should be
}

func (l *Log) reader(s segment, f disk.File, size int64) *reader {
	return &reader{log: l, segment: s, window: window{file: f, size: size}, at: s.start, batch: s.start}
}

// run calls fn with each record up to the first bad frame.
func (r *reader) run(fn func(Kind, uint64, []byte) error) error {
	for {
		frame, err := r.next()
		if err != nil || frame == nil {
			return err
		}
		h, payload := decodeHeader(frame), frame[frameHeaderBytes:len(frame)-frameEndBytes]
		r.log.chain = h.crc
		r.log.follow(h, payload)
		if err := fn(h.kind, h.index, payload); err != nil {
			return err
		}
	}
}

// next returns the next good frame, or nil. It is in the same batch, or opens a new one at the next sector. Its crc shows
// that no frame is missing between.
func (r *reader) next() ([]byte, error) {
	within, opening := frameStart(r.at), roundUp(r.at, sectorBytes)
	r.bad = opening
	for _, at := range [2]int64{within, opening} {
		head, err := r.window.bytes(at, frameHeaderBytes)
		if err != nil {
			return nil, ignoreEOF(err)
		}
		if isZero(head) {
			continue
		}
		r.bad = min(r.bad, at)
		// A frame that opens a batch is good only at the start of a sector.
		if h := decodeHeader(head); !validHeader(head, r.segment.seed, at) || r.tooLong(h) || h.opensBatch() && at != opening {
			continue
		}
		frame, err := r.window.bytes(at, frameBytes(int64(decodeHeader(head).length)))
		if err == nil && frame[len(frame)-1] == frameEnd && frameCRC(frame, r.log.chain) == decodeHeader(frame).crc {
			r.at = at + int64(len(frame))
			if decodeHeader(frame).opensBatch() {
				r.batch = at
			}
			return frame, nil
		}
		if ignoreEOF(err) != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (r *reader) tooLong(h header) bool { return int64(h.length) > r.log.o.MaxRecordBytes }

// judge tells what follows the last good frame of the last segment: a torn batch, nothing, or damage, which is an error. It
// is the table of the package comment, row by row.
func (r *reader) judge() (torn bool, err error) {
	later, empty, err := r.scan()
	if err != nil {
		return false, err
	}
	reason, err := r.reason()
	if err != nil {
		return false, err
	}
	if later > 0 { // row 1
		return false, r.segment.corrupt(r.log.dir, r.bad, fmt.Sprintf("%s, and whole ones follow from offset %d", reason, later))
	}
	if empty { // row 2
		return false, nil
	}
	head, err := r.window.bytes(r.bad, frameHeaderBytes)
	if err != nil || !writtenHeader(head) { // row 3
		return true, ignoreEOF(err)
	}
	if !validHeader(head, r.segment.seed, r.bad) || r.tooLong(decodeHeader(head)) { // rows 4, 5
		return false, r.segment.corrupt(r.log.dir, r.bad, reason)
	}
	frame, err := r.window.bytes(r.bad, frameBytes(int64(decodeHeader(head).length)))
	if err != nil || !writtenFrame(frame, r.bad) { // row 6
		return true, ignoreEOF(err)
	}
	return false, r.segment.corrupt(r.log.dir, r.bad, reason) // row 7
}

// rewrite writes the last batch once more, unchanged. If its Sync failed, the system may have the bytes in memory and
// believe them to be on disk, so that a sync alone would not write them. Earlier batches are on disk, or this one would not
// exist.
func (r *reader) rewrite() error {
	for at := r.batch; at < r.at; {
		b, err := r.window.bytes(at, min(r.at-at, windowBytes))
		if err != nil {
			return err
		}
		if _, err := r.window.file.WriteAt(b, at); err != nil {
			return err
		}
		at += int64(len(b))
	}
	return nil
}

// scan looks for a batch that opens behind the bad frame: later is its offset, or 0. empty tells that all bytes behind the
// last good frame are zero.
func (r *reader) scan() (later int64, empty bool, err error) {
	empty = true
	for at := r.at; at < r.window.size; {
		n := min(sectorBytes-at%sectorBytes, r.window.size-at)
		sector, err := r.window.bytes(at, n)
		if err != nil {
			return 0, false, err
		}
		if !isZero(sector) {
			empty = false
			if at > r.bad && n >= frameHeaderBytes && validHeader(sector, r.segment.seed, at) && decodeHeader(sector).opensBatch() {
				return at, false, nil
			}
		}
		at += n
	}
	return 0, empty, nil
}

// reason says what is wrong with the bad frame.
func (r *reader) reason() (string, error) {
	head, err := r.window.bytes(r.bad, frameHeaderBytes)
	switch {
	case ignoreEOF(err) != nil:
		return "", err
	case err == io.EOF:
		return "the file ends", nil
	case isZero(head):
		return "records are missing", nil
	case !validHeader(head, r.segment.seed, r.bad):
		return "the header of a record is wrong", nil
	case r.tooLong(decodeHeader(head)):
		return fmt.Sprintf("a record has %d bytes, and at most %d are allowed", decodeHeader(head).length,
			r.log.o.MaxRecordBytes), nil
	}
	return "the checksum of a record is wrong", nil
}

// writtenHeader reports whether a header was written to its end. A single bit that is set where nothing was written is not
// enough.
func writtenHeader(head []byte) bool {
	return head[frameHeaderBytes-1] != 0 && !isZero(head[:atLength])
}

// writtenFrame reports whether all sectors of a frame at this offset seem to be written: its last byte is there, and no
// sector of it holds only zeros.
func writtenFrame(frame []byte, offset int64) bool {
	if frame[len(frame)-1] == 0 {
		return false
	}
	for at := int64(frameHeaderBytes); at < int64(len(frame)); {
		n := min(sectorBytes-(offset+at)%sectorBytes, int64(len(frame))-at)
		if isZero(frame[at : at+n]) {
			return false
		}
		at += n
	}
	return true
}

func ignoreEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}
