package wal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"strings"

	"canopy/internal/disk"
)

// The numbers of a segment's header. They are frozen, as those of the frame are:
//
//	| magic 8 | version 4 | seed 4 | sequence 8 | first index 8 | meta length 4 | crc 4 | meta … | zeros to a sector |
//
// crc is the CRC-32C of the 36 bytes before it and of meta. Later versions keep magic and version at their offsets.
const (
	segmentMagic       = "CanopWAL"
	segmentVersion     = 1
	segmentHeaderBytes = 40
	maxMetaBytes       = 64 << 10

	segmentSuffix = ".wal"
	spareName     = "spare.tmp"
	lockName      = "lock"
)

// segment is one file of the log.
type segment struct {
	sequence uint64 // that of the segment before, plus 1
	first    uint64 // neither it nor a later segment has an entry with a lower index, except overwritten ones
	seed     uint32 // crc of the last record before it
	start    int64  // offset of its first frame
}

func (s segment) name() string {
	return fmt.Sprintf("%016x-%016x%s", s.sequence, s.first, segmentSuffix)
}

func (s segment) corrupt(dir string, offset int64, reason string) error {
	return &CorruptError{File: filepath.Join(dir, s.name()), Offset: offset, Reason: reason, Advice: adviceRestore}
}

func parseSegmentName(name string) (segment, bool) {
	var s segment
	_, err := fmt.Sscanf(name, "%016x-%016x"+segmentSuffix, &s.sequence, &s.first)
	return s, err == nil && s.name() == name
}

// listSegments returns the segments of a directory by sequence. It ignores other files, unless their names end in ".wal".
func listSegments(fsys disk.FS, dir string) ([]segment, error) {
	names, err := fsys.List(dir)
	if err != nil {
		return nil, err
	}
	var segments []segment
	for _, name := range names { // sorted by name, which is by sequence
		if !strings.HasSuffix(name, segmentSuffix) {
			continue
		}
		s, ok := parseSegmentName(name)
		if !ok {
			return segments, &CorruptError{File: filepath.Join(dir, name), Reason: "this is not the name of a segment",
				Advice: "give the file its old name if it is part of the log, and move it elsewhere if it is not"}
		}
		segments = append(segments, s)
	}
	return segments, nil
}

// checkSequence refuses a segment that is missing, or there twice.
func checkSequence(dir string, segments []segment) error {
	for i := 1; i < len(segments); i++ {
		before, s := segments[i-1], segments[i]
		switch {
		case s.sequence == before.sequence:
			return s.corrupt(dir, 0, fmt.Sprintf("%s has the same sequence number", before.name()))
		case s.sequence != before.sequence+1:
			return s.corrupt(dir, 0, fmt.Sprintf("the segments between %s and this one are missing", before.name()))
		}
	}
	return nil
}

// appendSegmentHeader adds the header of s, with zeros up to the end of its sector.
func appendSegmentHeader(dst []byte, s segment, meta []byte) []byte {
	begin := len(dst)
	dst = append(dst, segmentMagic...)
	dst = binary.LittleEndian.AppendUint32(dst, segmentVersion)
	dst = binary.LittleEndian.AppendUint32(dst, s.seed)
	dst = binary.LittleEndian.AppendUint64(dst, s.sequence)
	dst = binary.LittleEndian.AppendUint64(dst, s.first)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(meta)))
	sum := crc32.Update(crc32.Checksum(dst[begin:], castagnoli), castagnoli, meta)
	dst = binary.LittleEndian.AppendUint32(dst, sum)
	dst = append(dst, meta...)
	return append(dst, make([]byte, segmentStart(meta)-int64(len(dst)-begin))...)
}

// segmentStart returns the offset of the first frame.
func segmentStart(meta []byte) int64 {
	return roundUp(segmentHeaderBytes+int64(len(meta)), sectorBytes)
}

// readHeader compares the header with the name, fills in the rest of s, and returns the meta.
func (s *segment) readHeader(fsys disk.FS, dir string) ([]byte, error) {
	name := filepath.Join(dir, s.name())
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("wal: open segment: %w", err)
	}
	defer f.Close()
	var b [segmentHeaderBytes]byte
	n, err := f.ReadAt(b[:], 0)
	switch {
	case err != nil && err != io.EOF:
		return nil, fmt.Errorf("wal: read %s: %w", name, err)
	case n < len(b) || string(b[:8]) != segmentMagic:
		return nil, s.corrupt(dir, 0, "it does not begin like a segment")
	case binary.LittleEndian.Uint32(b[8:]) > segmentVersion:
		return nil, fmt.Errorf("wal: %s: format %d, this program knows formats up to %d: %w", name, binary.LittleEndian.Uint32(b[8:]),
			segmentVersion, ErrNewerFormat)
	case binary.LittleEndian.Uint32(b[32:]) > maxMetaBytes:
		return nil, s.corrupt(dir, 32, fmt.Sprintf("its header claims %d bytes of meta", binary.LittleEndian.Uint32(b[32:])))
	}
	meta := make([]byte, binary.LittleEndian.Uint32(b[32:]))
	if n, err := f.ReadAt(meta, segmentHeaderBytes); n < len(meta) && err != io.EOF {
		return nil, fmt.Errorf("wal: read %s: %w", name, err)
	}
	if crc32.Update(crc32.Checksum(b[:36], castagnoli), castagnoli, meta) != binary.LittleEndian.Uint32(b[36:]) {
		return nil, s.corrupt(dir, 0, "the checksum of its header is wrong")
	}
	if s.sequence != binary.LittleEndian.Uint64(b[16:]) || s.first != binary.LittleEndian.Uint64(b[24:]) {
		return nil, s.corrupt(dir, 16, "its header belongs to a file of another name")
	}
	s.seed, s.start = binary.LittleEndian.Uint32(b[12:]), segmentStart(meta)
	return meta, nil
}
