package etcddir

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"

	"canopy/migration/etcdtree"
	"canopy/migration/etcdwal"
	"canopy/migration/report"
)

// applier is the second reading of a log. It applies entries as soon as they are certain to stay, so that few are in memory.
type applier struct {
	source *Source
	report *report.Report
	next   uint64          // the index of the next entry to apply
	row    []etcdwal.Entry // from next on
	commit uint64          // of the state before the last one
	hard   etcdwal.HardState
}

// Entry takes an entry.
func (a *applier) Entry(e etcdwal.Entry) error {
	a.report.Entries.Read++
	if e.Index <= a.source.start {
		if c, err := etcdwal.Parse(e.Data); err == nil && e.Type == 0 && c.Request != nil && c.Request.Method == "SYNC" {
			a.source.state.Saw(c.Request.Time)
		}
		return nil
	}
	at := e.Index - a.next
	if e.Index < a.next || at > uint64(len(a.row)) {
		return fmt.Errorf("entry %d does not follow entry %d", e.Index, a.next+uint64(len(a.row))-1)
	}
	e.Data = bytes.Clone(e.Data)
	a.row = append(a.row[:at], e)
	return nil
}

// State takes a state: what the one before it has committed stays.
func (a *applier) State(h etcdwal.HardState) error {
	if h != a.hard {
		a.commit, a.hard = a.hard.Commit, h
	}
	return a.upTo(a.commit)
}

// rest applies what is left.
func (a *applier) rest() error { return a.upTo(a.source.stop) }

func (a *applier) upTo(index uint64) error {
	done := 0
	for done < len(a.row) && a.next <= min(index, a.source.stop) {
		e := a.row[done]
		done++
		a.next++
		if err := a.apply(e); err != nil {
			return fmt.Errorf("entry %d: %w", e.Index, err)
		}
	}
	kept := copy(a.row, a.row[done:])
	clear(a.row[kept:])
	a.row = a.row[:kept]
	return nil
}

func (a *applier) apply(e etcdwal.Entry) error {
	s := a.source.state
	if e.Type != 0 {
		c, err := etcdwal.ParseChange(e.Data)
		if err == nil {
			a.count(s.ChangeMember(c))
		}
		return err
	}
	if len(e.Data) == 0 {
		return nil
	}
	c, err := etcdwal.Parse(e.Data)
	if err != nil {
		return err
	}
	switch {
	case c.Request != nil:
		a.count(request(s, c.Request))
	case c.Version != "":
		a.count(s.Set(etcdtree.Request{Path: "/0/version", Value: c.Version}))
	case c.Attributes != nil:
		value, err := json.Marshal(struct {
			Name       string   `json:"name,omitempty"`
			ClientURLs []string `json:"clientURLs,omitempty"`
		}{c.Attributes.Name, c.Attributes.ClientURLs})
		if err != nil {
			return err
		}
		a.count(s.Publish(strconv.FormatUint(c.Attributes.ID, 16), string(value)))
	}
	return nil
}

func (a *applier) count(succeeded bool) {
	a.report.Entries.Applied++
	if !succeeded {
		a.report.Entries.Refused++
	}
}

var attributesPath = regexp.MustCompile(`^/0/members/([0-9a-f]{1,16})/attributes$`)

// request applies a request as G34 says. It tells whether it succeeded.
func request(s *etcdtree.State, r *etcdwal.Request) bool {
	switch r.Method {
	case "POST":
		return s.CreateInOrder(r.Request)
	case "PUT":
		return put(s, r)
	case "DELETE":
		if r.PrevIndex > 0 || r.PrevValue != "" {
			return s.CompareAndDelete(r.Request)
		}
		return s.Delete(r.Request)
	case "SYNC":
		return s.Sync(r.Time)
	}
	return true // a read
}

func put(s *etcdtree.State, r *etcdwal.Request) bool {
	conditional := r.PrevIndex > 0 || r.PrevValue != ""
	switch {
	case r.PrevExist != nil && !*r.PrevExist:
		return s.Create(r.Request)
	case r.PrevExist != nil && (!conditional || s.Rules.PlainUpdate):
		return s.Update(r.Request)
	case conditional:
		return s.CompareAndSwap(r.Request)
	}
	if m := attributesPath.FindStringSubmatch(r.Path); m != nil {
		return s.Publish(m[1], r.Value)
	}
	return s.Set(r.Request)
}
