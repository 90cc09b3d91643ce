package etcdwal

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
)

// segmentName is the name of a segment (G7).
var segmentName = regexp.MustCompile(`^[0-9a-f]{16}-[0-9a-f]{16}\.wal$`)

// Log is the segments of a log.
type Log struct {
	dir      string
	segments []segmentFile
}

type segmentFile struct {
	name            string
	sequence, first uint64
}

// List finds the segments in a directory. Other names are ignored (G3).
func List(dir string) (*Log, error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	l := &Log{dir: dir}
	for _, entry := range names { // sorted, and hex digits of one length sort as numbers
		name := entry.Name()
		if !segmentName.MatchString(name) {
			continue
		}
		sequence, err := strconv.ParseUint(name[:16], 16, 64)
		if err != nil {
			return nil, err
		}
		first, err := strconv.ParseUint(name[17:33], 16, 64)
		if err != nil {
			return nil, err
		}
		l.segments = append(l.segments, segmentFile{name, sequence, first})
	}
	return l, nil
}

// Empty tells whether there is no segment.
func (l *Log) Empty() bool { return len(l.segments) == 0 }

// Newest is the path of the last segment.
func (l *Log) Newest() string { return filepath.Join(l.dir, l.segments[len(l.segments)-1].name) }

// First is the index from which a log may go on: the first segment that there is holds entries from there.
func (l *Log) First() (sequence, index uint64) { return l.segments[0].sequence, l.segments[0].first }

// Sink takes what a log says, in order. An error ends the reading.
type Sink interface {
	Entry(e Entry) error
	State(h HardState) error
}

// Result is how the reading ended.
type Result struct {
	Metadata Metadata
	Cut      *Cut  // the end was torn here; nil: it was not
	Bytes    int64 // of records
}

// Read reads the log from the segment on that holds the entry behind an index (G25).
func (l *Log) Read(after uint64, to Sink) (Result, error) {
	from := 0
	for i, s := range l.segments {
		if s.first <= after {
			from = i
		}
	}
	r := reader{dir: l.dir, to: to}
	for i, s := range l.segments[from:] {
		if i > 0 && s.sequence != l.segments[from+i-1].sequence+1 {
			return r.result, fmt.Errorf("%s: the segment before %s is missing", l.dir, s.name)
		}
		if err := r.segment(s.name, from+i == len(l.segments)-1); err != nil {
			return r.result, err
		}
	}
	return r.result, nil
}

// reader reads segment by segment.
type reader struct {
	dir     string
	to      Sink
	running uint32
	whose   bool // metadata was read
	result  Result
}

func (r *reader) segment(name string, last bool) (err error) {
	path := filepath.Join(r.dir, name)
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return r.records(&segment{name: path, in: f, size: info.Size(), last: last, running: r.running})
}

func (r *reader) records(s *segment) error {
	count := 0
	for {
		record, err := s.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if count == 0 && record.kind != kindChecksum {
			return s.damaged(record.at, "the file does not begin with a checksum")
		}
		if count == 1 && record.kind != kindMetadata {
			return s.damaged(record.at, "the file does not tell whose log it is")
		}
		count++
		if err := r.record(s, record); err != nil {
			return err
		}
	}
	if count < 2 && !(s.last && r.whose) {
		if s.cut == nil {
			s.cut = &Cut{File: s.name, Bytes: s.size}
		}
		return s.damaged(s.cut.Offset, "the file has no whole records")
	}
	r.result.Bytes += s.at
	r.result.Cut, r.running = s.cut, s.running
	return nil
}

// record passes on what one record says.
func (r *reader) record(s *segment, rec record) error {
	if rec.hasData == (rec.kind == kindChecksum) && !(rec.kind == kindMetadata) {
		return s.damaged(rec.at, fmt.Sprintf("a record of kind %d with or without data", rec.kind))
	}
	switch rec.kind {
	case kindChecksum:
		if s.running != 0 && s.running != rec.checksum {
			return s.damaged(rec.at, "the checksum of all before is another one")
		}
		s.running = rec.checksum
	case kindMetadata:
		m, ok := parseMetadata(rec.data)
		if !ok || r.whose && m != r.result.Metadata {
			return s.damaged(rec.at, "the file belongs to another log")
		}
		r.result.Metadata, r.whose = m, true
	case kindEntry:
		e, ok := parseEntry(rec.data)
		if !ok {
			return s.damaged(rec.at, "an entry cannot be read")
		}
		return r.place(s, rec, r.to.Entry(e))
	case kindState:
		h, ok := parseState(rec.data)
		if !ok {
			return s.damaged(rec.at, "a state cannot be read")
		}
		return r.place(s, rec, r.to.State(h))
	case kindMark: // it says little (G13)
	}
	return nil
}

// place says where an error of the sink comes from.
func (r *reader) place(s *segment, rec record, err error) error {
	if err == nil {
		return nil
	}
	return s.damaged(rec.at, err.Error())
}
