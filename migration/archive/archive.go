// Package archive is the one file of backup, import and restore (G58).
//
//	| magic 8 | format 4 | length 4 | header, JSON | the replicated state, as snapshots hold it | SHA-256 of all before, 32 |
//
// It is written as a stream, and its end proves that it is whole: a stream that was cut fails Verify. Reading takes memory for
// the largest record only.
package archive

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"canopy/etcdserver/replica"
	"canopy/migration/report"
)

const (
	magic     = "CANOPY\r\n" // a text transfer that changes line ends damages it, and is noticed at once
	format    = 1
	headerMax = 1 << 20
)

// Header stands before the state.
type Header struct {
	Program string         `json:"program"` // version of the canopy that wrote it
	Cluster string         `json:"cluster"`
	Index   uint64         `json:"index"`
	Time    string         `json:"time"`             // when it was written
	Origin  *report.Report `json:"origin,omitempty"` // of an import: what was found
}

// Error says why a file cannot be used.
type Error struct {
	File   string
	Reason string
	Err    error // may be nil
}

// Error names the file.
func (e *Error) Error() string {
	text := fmt.Sprintf("%s: %s", e.File, e.Reason)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Write writes a state.
func Write(w io.Writer, h Header, state replica.Snapshot) error {
	header, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if len(header) > headerMax {
		return fmt.Errorf("the header has %d bytes", len(header))
	}
	sum := sha256.New()
	out := bufio.NewWriterSize(io.MultiWriter(w, sum), 1<<18)
	start := append([]byte(magic), 0, 0, 0, format)
	start = binary.BigEndian.AppendUint32(start, uint32(len(header)))
	if _, err := out.Write(append(start, header...)); err != nil {
		return err
	}
	if err := state.Save(out); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	_, err = w.Write(sum.Sum(nil))
	return err
}

// File is a file that was checked to its end.
type File struct {
	Name     string
	Header   Header
	Summary  replica.Summary
	Checksum [sha256.Size]byte
	body     int64
	size     int64
}

// Verify reads a file to its end.
func Verify(name string) (_ *File, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	file := &File{Name: name, size: info.Size()}
	if err := file.verify(f); err != nil {
		return nil, err
	}
	return file, nil
}

func (f *File) refuse(reason string, err error) error { return &Error{f.Name, reason, err} }

// verify compares the checksum first: what has changed is not worth a look.
func (f *File) verify(in io.ReaderAt) error {
	header, err := f.start(in)
	if err != nil {
		return err
	}
	whole := f.size - sha256.Size
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(in, 0, whole)); err != nil {
		return err
	}
	if _, err := in.ReadAt(f.Checksum[:], whole); err != nil && err != io.EOF {
		return err
	}
	if !bytes.Equal(sum.Sum(nil), f.Checksum[:]) {
		return f.refuse("it is damaged or not whole: its checksum is wrong", nil)
	}
	if err := json.Unmarshal(header, &f.Header); err != nil {
		return f.refuse("its header cannot be read", err)
	}
	summary, err := replica.Inspect(bufio.NewReaderSize(f.state(in), 1<<18))
	if err != nil {
		return f.refuse("the state in it cannot be read", err)
	}
	f.Summary = summary
	return nil
}

func (f *File) state(in io.ReaderAt) io.Reader {
	return io.NewSectionReader(in, f.body, f.size-sha256.Size-f.body)
}

// start reads all before the state.
func (f *File) start(in io.ReaderAt) (header []byte, err error) {
	var start [16]byte
	n, err := in.ReadAt(start[:], 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if n < len(start) || string(start[:8]) != magic {
		return nil, f.refuse("this is no backup of canopy", nil)
	}
	if v := binary.BigEndian.Uint32(start[8:]); v != format {
		return nil, f.refuse(fmt.Sprintf("it has format %d, and this canopy knows format %d; use a newer one", v, format), nil)
	}
	length := int64(binary.BigEndian.Uint32(start[12:]))
	if f.body = int64(len(start)) + length; length > headerMax || f.body > f.size-sha256.Size {
		return nil, f.refuse("it is damaged or not whole", nil)
	}
	header = make([]byte, length)
	if _, err := in.ReadAt(header, int64(len(start))); err != nil && err != io.EOF {
		return nil, err
	}
	return header, nil
}

// Read passes the state to take, as replica.Snapshot.Save wrote it.
func (f *File) Read(take func(io.Reader) error) (err error) {
	in, err := os.Open(f.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	return take(bufio.NewReaderSize(f.state(in), 1<<18))
}

// Report tells what the file holds.
func (f *File) Report() *report.Report {
	r := &report.Report{Kind: "canopy backup", Source: f.Name}
	if f.Header.Origin != nil {
		copied := *f.Header.Origin
		r = &copied
	}
	r.FormatVersion, r.Program, r.Checksum = format, f.Header.Program, hex.EncodeToString(f.Checksum[:])
	st, head := &f.Summary.Store, &f.Summary.Head
	if f.Summary.Cluster != 0 {
		r.Cluster = f.Summary.Cluster.String()
	}
	r.Keys, r.Directories, r.Bytes, r.WithTTL = st.Files, st.Dirs, st.Bytes, st.Timed
	r.Index, r.History = uint64(st.Index), [2]uint64{uint64(st.Oldest), uint64(st.Index)}
	r.Now = report.Time(int64(st.Time))
	r.LastIndex, r.LastTerm = uint64(head.Index), uint64(head.Term)
	r.Users, r.Roles, r.AuthOn = len(head.Auth.Users()), len(head.Auth.Roles())-1, head.Auth.Enabled()
	for _, m := range head.Members.List() {
		r.Members = append(r.Members, report.Member{ID: m.ID.String(), Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs})
	}
	return r
}

// Put writes a file under a temporary name, checks it, and gives it its name when it is safe on the disk. Nobody else can read
// it. If it fails, there is no file, or the one that was there.
func Put(name string, write func(io.Writer) error) (_ *File, err error) {
	temp := fmt.Sprintf("%s.%d.tmp", name, os.Getpid())
	f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreMissing(os.Remove(temp)))
		}
	}()
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	file, err := Verify(temp)
	if err != nil {
		return nil, err
	}
	if err := os.Rename(temp, name); err != nil {
		return nil, err
	}
	file.Name = name
	return file, syncDir(filepath.Dir(name))
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Copy copies a file that comes as a stream, and checks its end.
func Copy(w io.Writer, r io.Reader) (bytes int64, err error) {
	sum := sha256.New()
	in := bufio.NewReaderSize(r, 1<<18)
	for {
		b, err := in.Peek(1 << 17)
		if err != nil && err != io.EOF {
			return bytes, err
		}
		last := err == io.EOF
		n := len(b) - sha256.Size // the last bytes may be the checksum
		if n < 0 {
			return bytes, &Error{"the backup", "it is not whole", io.ErrUnexpectedEOF}
		}
		sum.Write(b[:n])
		if last {
			if !equal(sum.Sum(nil), b[n:]) {
				return bytes, &Error{"the backup", "it is damaged or not whole: its checksum is wrong", nil}
			}
			n = len(b)
		}
		if _, err := w.Write(b[:n]); err != nil {
			return bytes, err
		}
		bytes += int64(n)
		if last {
			return bytes, nil
		}
		if _, err := in.Discard(n); err != nil {
			return bytes, err
		}
	}
}

func equal(a, b []byte) bool { return string(a) == string(b) }
