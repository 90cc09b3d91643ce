package etcdwal

import (
	"errors"
	"fmt"

	"canopy/migration/etcdtree"
)

// Entry is an entry of the log. Its data is valid until the next record is read.
type Entry struct {
	Type        uint64 // 0 normal; else a change of the members
	Term, Index uint64
	Data        []byte
}

// HardState is what a member must not forget.
type HardState struct{ Term, Vote, Commit uint64 }

func parseEntry(b []byte) (e Entry, ok bool) {
	f := fields{in: b}
	for f.next() {
		switch {
		case f.number == 1 && f.isVarint:
			e.Type = f.varint
		case f.number == 2 && f.isVarint:
			e.Term = f.varint
		case f.number == 3 && f.isVarint:
			e.Index = f.varint
		case f.number == 4 && !f.isVarint:
			e.Data = f.bytes
		default:
			return e, false
		}
	}
	return e, !f.bad && e.Type <= 2
}

func parseState(b []byte) (h HardState, ok bool) {
	f := fields{in: b}
	for f.next() {
		switch {
		case f.number == 1 && f.isVarint:
			h.Term = f.varint
		case f.number == 2 && f.isVarint:
			h.Vote = f.varint
		case f.number == 3 && f.isVarint:
			h.Commit = f.varint
		default:
			return h, false
		}
	}
	return h, !f.bad
}

// Metadata is whose log it is.
type Metadata struct{ Node, Cluster uint64 }

func parseMetadata(b []byte) (m Metadata, ok bool) {
	f := fields{in: b}
	for f.next() {
		switch {
		case f.number == 1 && f.isVarint:
			m.Node = f.varint
		case f.number == 2 && f.isVarint:
			m.Cluster = f.varint
		default:
			return m, false
		}
	}
	return m, !f.bad
}

// Request is a request of the log (G21).
type Request struct {
	etcdtree.Request
	Method    string
	PrevExist *bool
	Since     uint64
}

// Attributes are what a member of 3.6 says of itself in the log (G22).
type Attributes struct {
	ID         uint64
	Name       string
	ClientURLs []string
}

// Content is what a normal entry says: one of its fields is set, or none, if it does not touch the tree.
type Content struct {
	Request    *Request
	Version    string
	Attributes *Attributes
	Union      bool // a form that servers before 2.3 do not write
}

var errContent = errors.New("its data cannot be read")

// Parse reads the data of a normal entry (G20).
func Parse(data []byte) (c Content, err error) {
	if r, ok, err := parseRequest(data); ok || err != nil {
		c.Request = r
		return c, err
	}
	c.Union = true
	f := fields{in: data}
	for f.next() {
		switch {
		case f.number == 2 && !f.isVarint:
			r, ok, err := parseRequest(f.bytes)
			if err != nil || !ok {
				return c, errContent
			}
			c.Request = r
		case f.number == 1300 && !f.isVarint:
			c.Version, err = parseVersion(f.bytes)
		case f.number == 1301 && !f.isVarint:
			c.Attributes, err = parseAttributes(f.bytes)
		}
		if err != nil {
			return c, err
		}
	}
	if f.bad {
		return c, errContent
	}
	return c, nil
}

// isMethod tells the five methods; a union has none of them in its second field.
func isMethod(text string) bool {
	switch text {
	case "PUT", "POST", "DELETE", "QGET", "SYNC":
		return true
	}
	return false
}

// parseRequest reads a request. ok is false if it is none.
func parseRequest(data []byte) (r *Request, ok bool, err error) {
	r = &Request{}
	f := fields{in: data}
	for f.next() {
		if f.number == 2 && (f.isVarint || !isMethod(string(f.bytes))) {
			return nil, false, nil
		}
		if err := r.field(&f); err != nil && r.Method != "" {
			return nil, true, err
		}
	}
	if r.Method == "" {
		return nil, false, nil
	}
	if f.bad {
		return nil, true, errContent
	}
	return r, true, nil
}

// field takes one field.
func (r *Request) field(f *fields) error {
	isText := f.number == 2 || f.number == 3 || f.number == 4 || f.number == 6
	if isText == f.isVarint || f.number > 17 {
		return fmt.Errorf("%w: its field %d is unknown", errContent, f.number)
	}
	switch f.number {
	case 2:
		r.Method = string(f.bytes)
	case 3:
		r.Path = string(f.bytes)
	case 4:
		r.Value = string(f.bytes)
	case 6:
		r.PrevValue = string(f.bytes)
	case 5:
		r.Dir = f.varint != 0
	case 7:
		r.PrevIndex = f.varint
	case 8:
		exists := f.varint != 0
		r.PrevExist = &exists
	case 9:
		r.Expires = int64(f.varint)
	case 11:
		r.Since = f.varint
	case 12:
		r.Recursive = f.varint != 0
	case 15:
		r.Time = int64(f.varint)
	case 17:
		r.Refresh = f.varint != 0
	}
	return nil
}

func parseVersion(b []byte) (string, error) {
	f := fields{in: b}
	version := ""
	for f.next() {
		if f.number == 1 && !f.isVarint {
			version = string(f.bytes)
		}
	}
	if f.bad {
		return "", errContent
	}
	return version, nil
}

func parseAttributes(b []byte) (*Attributes, error) {
	a := &Attributes{}
	f := fields{in: b}
	for f.next() {
		switch {
		case f.number == 1 && f.isVarint:
			a.ID = f.varint
		case f.number == 2 && !f.isVarint:
			in := fields{in: f.bytes}
			for in.next() {
				switch {
				case in.number == 1 && !in.isVarint:
					a.Name = string(in.bytes)
				case in.number == 2 && !in.isVarint:
					a.ClientURLs = append(a.ClientURLs, string(in.bytes))
				}
			}
			if in.bad {
				return nil, errContent
			}
		}
	}
	if f.bad {
		return nil, errContent
	}
	return a, nil
}

// ParseChange reads the data of a change of the members (G23).
func ParseChange(data []byte) (c etcdtree.MemberChange, err error) {
	f := fields{in: data}
	for f.next() {
		switch {
		case f.number == 2 && f.isVarint:
			c.Kind = f.varint
		case f.number == 3 && f.isVarint:
			c.ID = f.varint
		case f.number == 4 && !f.isVarint:
			c.Context = f.bytes
		}
	}
	if f.bad || c.Kind > etcdtree.AddLearner {
		return c, errContent
	}
	return c, nil
}
