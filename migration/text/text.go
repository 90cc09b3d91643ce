// Package text is keys as lines of JSON, for people, scripts and version control (G61).
//
//	{"format":"canopy-export/1","root":"/"}
//	{"key":"/a","dir":true}
//	{"key":"/a/b","value":"text","expiration":"2036-06-02T10:00:00Z"}
//	{"end":true,"nodes":2,"crc32c":"8 hex digits"}
//
// Nodes come depth first, siblings by name. Equal keys give equal bytes. The last line proves that the file is whole.
package text

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"canopy/store"
)

const format = "canopy-export/1"

// Node is a file or a directory.
type Node struct {
	Key        string
	Value      string
	Dir        bool
	Expiration time.Time // zero: none
	Created    uint64    // 0: not told
	Modified   uint64
}

// Header is the first line.
type Header struct {
	Root  string
	Index uint64 // 0: not told
}

type headerLine struct {
	Format string `json:"format"`
	Root   string `json:"root"`
	Index  uint64 `json:"index,omitempty"`
}

// nodeLine is a node as a line. What is not UTF-8 is base64.
type nodeLine struct {
	Key        *string    `json:"key,omitempty"`
	KeyBytes   []byte     `json:"keyBase64,omitempty"`
	Value      *string    `json:"value,omitempty"`
	Bytes      []byte     `json:"base64,omitempty"`
	Dir        bool       `json:"dir,omitempty"`
	Expiration *time.Time `json:"expiration,omitempty"`
	Created    uint64     `json:"createdIndex,omitempty"`
	Modified   uint64     `json:"modifiedIndex,omitempty"`
}

type endLine struct {
	End   bool   `json:"end"`
	Nodes uint64 `json:"nodes"`
	Sum   string `json:"crc32c"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Writer writes a file.
type Writer struct {
	out     *bufio.Writer
	sum     uint32
	nodes   uint64
	indexes bool
	line    bytes.Buffer
	encoder *json.Encoder
}

// NewWriter begins a file. Indexes are written if the header has one.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	t := &Writer{out: bufio.NewWriterSize(w, 1<<18), indexes: h.Index != 0}
	t.encoder = json.NewEncoder(&t.line)
	t.encoder.SetEscapeHTML(false)
	return t, t.put(headerLine{format, h.Root, h.Index})
}

func (t *Writer) put(v any) error {
	t.line.Reset()
	if err := t.encoder.Encode(v); err != nil {
		return err
	}
	t.sum = crc32.Update(t.sum, castagnoli, t.line.Bytes())
	_, err := t.out.Write(t.line.Bytes())
	return err
}

// Add writes a node.
func (t *Writer) Add(n Node) error {
	line := nodeLine{Dir: n.Dir}
	if utf8.ValidString(n.Key) {
		line.Key = &n.Key
	} else {
		line.KeyBytes = []byte(n.Key)
	}
	switch {
	case n.Dir:
	case utf8.ValidString(n.Value):
		line.Value = &n.Value
	default:
		line.Bytes = []byte(n.Value)
	}
	if !n.Expiration.IsZero() {
		at := n.Expiration.UTC()
		line.Expiration = &at
	}
	if t.indexes {
		line.Created, line.Modified = n.Created, n.Modified
	}
	t.nodes++
	return t.put(line)
}

// Close writes the end.
func (t *Writer) Close() error {
	sum := fmt.Sprintf("%08x", t.sum)
	if err := t.put(endLine{true, t.nodes, sum}); err != nil {
		return err
	}
	return t.out.Flush()
}

// Error is a fault in a file.
type Error struct {
	Line   uint64
	Reason string
}

// Error names the line.
func (e *Error) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Reason) }

// lineMax is the longest line that is read.
const lineMax = 128 << 20

// reader reads a file.
type reader struct {
	in      *bufio.Scanner
	line    uint64
	sum     uint32
	nodes   uint64
	header  Header
	parents []string // directories that are open
	last    string
}

// Read reads a file to its end, checks it, and visits each node with its line. What it has visited counts only if it returns no
// error: a caller that changes something reads the file twice.
func Read(r io.Reader, visit func(line uint64, h Header, n Node) error) (Header, uint64, error) {
	t := &reader{in: bufio.NewScanner(r)}
	t.in.Buffer(make([]byte, 0, 1<<16), lineMax)
	first, err := t.next()
	if err != nil {
		return t.header, 0, err
	}
	if err := t.begin(first); err != nil {
		return t.header, 0, err
	}
	for {
		sum := t.sum
		b, err := t.next()
		if err != nil {
			return t.header, t.nodes, err
		}
		if bytes.HasPrefix(b, []byte(`{"end":`)) {
			return t.header, t.nodes, t.end(b, sum)
		}
		n, err := t.node(b)
		if err != nil {
			return t.header, t.nodes, err
		}
		t.nodes++
		if err := visit(t.line, t.header, n); err != nil {
			return t.header, t.nodes, err
		}
	}
}

func (t *reader) fail(format string, args ...any) error {
	return &Error{t.line, fmt.Sprintf(format, args...)}
}

func (t *reader) next() ([]byte, error) {
	t.line++
	if !t.in.Scan() {
		if err := t.in.Err(); err != nil {
			return nil, t.fail("%v", err)
		}
		return nil, t.fail("the file is cut off: its last line is missing")
	}
	b := t.in.Bytes()
	t.sum = crc32.Update(crc32.Update(t.sum, castagnoli, b), castagnoli, []byte{'\n'})
	return b, nil
}

// decode refuses fields that this version does not know.
func (t *reader) decode(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return t.fail("%v", err)
	}
	if d.More() {
		return t.fail("more than one object")
	}
	return nil
}

func (t *reader) begin(b []byte) error {
	var h headerLine
	if err := json.Unmarshal(b, &h); err != nil || !strings.HasPrefix(h.Format, "canopy-export/") {
		return t.fail("this is no export of canopy")
	}
	if h.Format != format {
		return t.fail("the format is %q, and this canopy knows %q", h.Format, format)
	}
	root, err := store.ParseKey(h.Root)
	if err != nil || root.String() != h.Root {
		return t.fail("the root %q is no key", h.Root)
	}
	t.header = Header{h.Root, h.Index}
	return nil
}

func (t *reader) node(b []byte) (n Node, err error) {
	var line nodeLine
	if err := t.decode(b, &line); err != nil {
		return n, err
	}
	kinds := 0
	for _, is := range []bool{line.Value != nil, line.Bytes != nil, line.Dir} {
		if is {
			kinds++
		}
	}
	if kinds != 1 || (line.Key == nil) == (line.KeyBytes == nil) {
		return n, t.fail("a node has one key, and one of value, base64 and dir")
	}
	n = Node{Key: string(line.KeyBytes), Value: string(line.Bytes), Dir: line.Dir, Created: line.Created, Modified: line.Modified}
	if line.Key != nil {
		n.Key = *line.Key
	}
	if line.Value != nil {
		n.Value = *line.Value
	}
	if line.Expiration != nil {
		n.Expiration = *line.Expiration
	}
	key, err := store.ParseKey(n.Key)
	if err != nil || key.String() != n.Key || key.IsRoot() {
		return n, t.fail("%q is no key", n.Key)
	}
	return n, t.order(n)
}

// order checks that a node has its directory before it, and comes once.
func (t *reader) order(n Node) error {
	for len(t.parents) > 0 && !strings.HasPrefix(n.Key, t.parents[len(t.parents)-1]+"/") {
		t.last, t.parents = t.parents[len(t.parents)-1], t.parents[:len(t.parents)-1]
	}
	parent, name := n.Key[:strings.LastIndexByte(n.Key, '/')], n.Key[strings.LastIndexByte(n.Key, '/')+1:]
	want := strings.TrimSuffix(t.header.Root, "/")
	if len(t.parents) > 0 {
		want = t.parents[len(t.parents)-1]
	}
	isTop := t.nodes == 0 && n.Key == t.header.Root
	if parent != want && !isTop {
		return t.fail("%q does not follow its directory", n.Key)
	}
	if at := strings.LastIndexByte(t.last, '/'); t.last != "" && t.last[:max(at, 0)] == parent && t.last[at+1:] >= name {
		return t.fail("%q does not come in order", n.Key)
	}
	t.last = n.Key
	if n.Dir {
		t.parents = append(t.parents, n.Key)
		t.last = ""
	}
	return nil
}

func (t *reader) end(b []byte, sum uint32) error {
	var e endLine
	if err := t.decode(b, &e); err != nil {
		return err
	}
	switch {
	case e.Nodes != t.nodes:
		return t.fail("the end tells of %d nodes, and there are %d", e.Nodes, t.nodes)
	case e.Sum != fmt.Sprintf("%08x", sum):
		return t.fail("the checksum is wrong: the file has changed since it was written")
	}
	t.line++
	if t.in.Scan() {
		return t.fail("more follows the end")
	}
	if err := t.in.Err(); err != nil {
		return t.fail("%v", err)
	}
	return nil
}
