package etcddir

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"canopy/migration/etcdtree"
)

var snapName = regexp.MustCompile(`^[0-9a-f]{16}-[0-9a-f]{16}\.snap$`)

// snapshot is a file, by its name (G24).
type snapshot struct {
	path        string
	term, index uint64
}

// snapshots lists those in a directory, the newest first.
func snapshots(dir string) ([]snapshot, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []snapshot
	for _, e := range slices.Backward(entries) { // sorted; hex digits of one length sort as numbers
		name := e.Name()
		if !snapName.MatchString(name) {
			continue
		}
		term, _ := strconv.ParseUint(name[:16], 16, 64)
		index, _ := strconv.ParseUint(name[17:33], 16, 64)
		all = append(all, snapshot{filepath.Join(dir, name), term, index})
	}
	return all, nil
}

// snapshotMax bounds the file of a snapshot.
const snapshotMax = 8 << 30

// load reads a snapshot file: once for its checksum, and then as a stream.
func (s snapshot) load(rules etcdtree.Rules, named bool) (_ *etcdtree.State, term, index uint64, err error) {
	f, err := os.Open(s.path)
	if err != nil {
		return nil, 0, 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, 0, err
	}
	h, err := headOf(f, info.Size())
	if err != nil {
		return nil, 0, 0, err
	}
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	if _, err := io.Copy(sum, io.NewSectionReader(f, h.data, h.dataLen)); err != nil {
		return nil, 0, 0, err
	}
	if sum.Sum32() != h.checksum {
		return nil, 0, 0, errors.New("its checksum is wrong")
	}
	if named && (h.term != s.term || h.index != s.index) {
		return nil, 0, 0, fmt.Errorf("it holds index %d of term %d, which is not what its name says", h.index, h.term)
	}
	state, err := etcdtree.Load(bufio.NewReaderSize(io.NewSectionReader(f, h.state, h.stateLen), 1<<20), rules)
	return state, h.term, h.index, err
}

// head is where the parts of a snapshot file lie.
type head struct {
	checksum        uint32
	data, dataLen   int64
	state, stateLen int64
	term, index     uint64
}

// headOf finds the parts of a file {1 checksum, 2 data {1 state, 2 {1 configuration, 2 index, 3 term}}} without reading the
// state.
func headOf(f io.ReaderAt, size int64) (h head, err error) {
	if size > snapshotMax {
		return h, fmt.Errorf("it has %d bytes", size)
	}
	outer, err := walk(f, 0, size)
	if err != nil {
		return h, err
	}
	for _, field := range outer {
		switch {
		case field.number == 1 && field.varint <= 1<<32-1 && !field.isBytes:
			h.checksum = uint32(field.varint)
		case field.number == 2 && field.isBytes:
			h.data, h.dataLen = field.at, field.length
		default:
			return h, errors.New("it is no snapshot")
		}
	}
	if h.checksum == 0 || h.dataLen == 0 {
		return h, errors.New("it has no checksum or no data")
	}
	inner, err := walk(f, h.data, h.dataLen)
	if err != nil {
		return h, err
	}
	for _, field := range inner {
		switch {
		case field.number == 1 && field.isBytes:
			h.state, h.stateLen = field.at, field.length
		case field.number == 2 && field.isBytes:
			meta, err := walk(f, field.at, field.length)
			if err != nil {
				return h, err
			}
			for _, m := range meta {
				switch m.number {
				case 2:
					h.index = m.varint
				case 3:
					h.term = m.varint
				}
			}
		}
	}
	return h, nil
}

type field struct {
	number     protowire.Number
	varint     uint64
	isBytes    bool
	at, length int64
}

// fieldsMax bounds the fields of one message.
const fieldsMax = 64

// walk finds the fields of a message in a file.
func walk(f io.ReaderAt, at, length int64) (all []field, err error) {
	bad := errors.New("it is no snapshot, or is cut off")
	for end := at + length; at < end; {
		b := make([]byte, min(24, end-at))
		if _, err := f.ReadAt(b, at); err != nil {
			return nil, err
		}
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 || len(all) == fieldsMax || (kind != protowire.VarintType && kind != protowire.BytesType) {
			return nil, bad
		}
		v, m := protowire.ConsumeVarint(b[n:])
		if m < 0 {
			return nil, bad
		}
		at += int64(n + m)
		one := field{number: number, varint: v, isBytes: kind == protowire.BytesType}
		if one.isBytes {
			if v > uint64(end-at) {
				return nil, bad
			}
			one.at, one.length = at, int64(v)
			at += one.length
		}
		all = append(all, one)
	}
	return all, nil
}

// loadStateFile reads a lone state (G41).
func loadStateFile(path string) (_ *etcdtree.State, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return LoadState(f)
}

// LoadState reads the state that 0.4 gives away, with its keys at the root, or that of a later snapshot, with namespaces.
func LoadState(r io.Reader) (*etcdtree.State, error) {
	in := bufio.NewReaderSize(r, 1<<20)
	start, err := in.Peek(1 << 16)
	if err != nil && err != io.EOF {
		return nil, err
	}
	namespaces := bytes.Contains(start, []byte(`"Path":"/0"`))
	return etcdtree.Load(in, etcdtree.Rules{Flat: !namespaces})
}
