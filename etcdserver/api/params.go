package api

import (
	"strconv"

	"canopy/store"
)

// params are the parameters of a keys request, parsed and checked: whoever holds one need not check again.
type params struct {
	value            string
	prevValue        string // "" = not compared
	prevIndex        uint64 // 0 = not compared
	waitIndex        uint64 // 0 = from now
	ttl              store.TTL
	prevExist        tristate
	refresh          tristate
	dir              bool
	recursive        bool
	sorted           bool
	quorum           bool
	wait             bool
	stream           bool
	noValueOnSuccess bool
}

// A tristate is a boolean that may not have been given.
type tristate uint8

const (
	absent tristate = iota
	no
	yes
)

// A check is one row of K16: what is refused unless passes, which also puts the parsed field into p.
type check struct {
	code   store.Code
	cause  string
	passes func(f *fields, p *params, method string) bool
}

// checks are the rows of K16 from the second on, in their fixed order: the first that fails is reported, and all of
// them run for every method. The last is ours: a refresh that would make a node is refused (K71).
var checks = [...]check{
	{store.CodeIndexNotNumber, `invalid value for "prevIndex"`, number(fieldPrevIndex, func(p *params) *uint64 { return &p.prevIndex })},
	{store.CodeIndexNotNumber, `invalid value for "waitIndex"`, number(fieldWaitIndex, func(p *params) *uint64 { return &p.waitIndex })},
	{store.CodeInvalidField, `invalid value for "recursive"`, boolean(fieldRecursive, func(p *params) *bool { return &p.recursive })},
	{store.CodeInvalidField, `invalid value for "sorted"`, boolean(fieldSorted, func(p *params) *bool { return &p.sorted })},
	{store.CodeInvalidField, `invalid value for "wait"`, boolean(fieldWait, func(p *params) *bool { return &p.wait })},
	{store.CodeInvalidField, `invalid value for "dir"`, boolean(fieldDir, func(p *params) *bool { return &p.dir })},
	{store.CodeInvalidField, `invalid value for "quorum"`, boolean(fieldQuorum, func(p *params) *bool { return &p.quorum })},
	{store.CodeInvalidField, `invalid value for "stream"`, boolean(fieldStream, func(p *params) *bool { return &p.stream })},
	{store.CodeInvalidField, `"wait" can only be used with GET requests`, waitsOnlyInGET},
	{store.CodePrevValueEmpty, `"prevValue" cannot be empty`, takePrevValue},
	{store.CodeInvalidField, `invalid value for "noValueOnSuccess"`, boolean(fieldNoValueOnSuccess, func(p *params) *bool { return &p.noValueOnSuccess })},
	{store.CodeTTLNotNumber, `invalid value for "ttl"`, takeTTL},
	{store.CodeInvalidField, `invalid value for prevExist`, trinary(fieldPrevExist, func(p *params) *tristate { return &p.prevExist })},
	{store.CodeInvalidField, `invalid value for refresh`, trinary(fieldRefresh, func(p *params) *tristate { return &p.refresh })},
	{store.CodeRefreshWithValue, `A value was provided on a refresh`, refreshesWithoutValue},
	{store.CodeRefreshNoTTL, `No TTL value set`, refreshesWithTTL},
	{store.CodeInvalidField, `invalid value for refresh`, refreshesOnlyWhatIs},
}

// parse turns the fields of a request into parameters. Its error is a *store.Error with index 0.
func (f *fields) parse(method string) (params, error) {
	p := params{}
	if f.present == 0 {
		return p, nil
	}
	p.value = f.text[fieldValue]
	for i := range checks {
		if c := &checks[i]; !c.passes(f, &p, method) {
			return params{}, &store.Error{Code: c.code, Cause: c.cause}
		}
	}
	return p, nil
}

// number parses a field of decimal digits. An empty one is a fault, other than an absent one.
func number(id fieldID, in func(*params) *uint64) func(*fields, *params, string) bool {
	return func(f *fields, p *params, _ string) bool {
		if !f.has(id) {
			return true
		}
		n, err := strconv.ParseUint(f.text[id], 10, 64)
		*in(p) = n
		return err == nil
	}
}

// boolean parses a field of one of the spellings of K15, which are those of strconv.
func boolean(id fieldID, in func(*params) *bool) func(*fields, *params, string) bool {
	return func(f *fields, p *params, _ string) bool {
		if !f.has(id) {
			return true
		}
		b, err := strconv.ParseBool(f.text[id])
		*in(p) = b
		return err == nil
	}
}

func trinary(id fieldID, in func(*params) *tristate) func(*fields, *params, string) bool {
	return func(f *fields, p *params, _ string) bool {
		if !f.has(id) {
			return true
		}
		b, err := strconv.ParseBool(f.text[id])
		*in(p) = no
		if b {
			*in(p) = yes
		}
		return err == nil
	}
}

func waitsOnlyInGET(_ *fields, p *params, method string) bool { return !p.wait || method == "GET" }

func takePrevValue(f *fields, p *params, _ string) bool {
	p.prevValue = f.text[fieldPrevValue]
	return !f.has(fieldPrevValue) || p.prevValue != ""
}

// takeTTL parses the ttl. An empty one is the same as none (K60).
func takeTTL(f *fields, p *params, _ string) bool {
	text := f.text[fieldTTL]
	if text == "" {
		return true
	}
	seconds, err := strconv.ParseUint(text, 10, 64)
	p.ttl = store.TTL{Set: true, Seconds: seconds}
	return err == nil
}

func refreshesWithoutValue(_ *fields, p *params, _ string) bool {
	return p.refresh != yes || p.value == ""
}

func refreshesWithTTL(_ *fields, p *params, _ string) bool { return p.refresh != yes || p.ttl.Set }

// refreshesOnlyWhatIs refuses a refresh of something that the request is about to make.
func refreshesOnlyWhatIs(_ *fields, p *params, method string) bool {
	if p.refresh != yes {
		return true
	}
	switch method {
	case "POST":
		return false
	case "PUT":
		return p.prevExist != no && (p.kind() != kindSet || !p.dir)
	}
	return true
}

// A putKind is what a PUT does.
type putKind uint8

const (
	kindSet putKind = iota
	kindCreate
	kindUpdate
	kindCompareAndSwap
)

// compares tells whether the write depends on what is there. A prevIndex of 0 counts as absent (K63).
func (p *params) compares() bool { return p.prevValue != "" || p.prevIndex != 0 }

// kind is the table of K50, whose first match counts.
func (p *params) kind() putKind {
	switch {
	case p.prevExist == no:
		return kindCreate
	case p.compares():
		return kindCompareAndSwap
	case p.prevExist == yes:
		return kindUpdate
	default:
		return kindSet
	}
}

// command is what a PUT, POST or DELETE asks of the store.
func (p *params) command(method string, key store.Key) store.Command {
	prevIndex := store.Index(p.prevIndex)
	refresh := p.refresh == yes
	switch {
	case method == "POST":
		return store.CreateInOrder{Dir: key, Value: p.value, AsDir: p.dir, TTL: p.ttl}
	case method == "DELETE" && p.compares():
		return store.CompareAndDelete{Key: key, PrevValue: p.prevValue, PrevIndex: prevIndex}
	case method == "DELETE":
		return store.Delete{Key: key, Dir: p.dir, Recursive: p.recursive}
	}
	switch p.kind() {
	case kindCreate:
		return store.Create{Key: key, Value: p.value, Dir: p.dir, TTL: p.ttl}
	case kindUpdate:
		return store.Update{Key: key, Value: p.value, TTL: p.ttl, Refresh: refresh}
	case kindCompareAndSwap:
		return store.CompareAndSwap{Key: key, Value: p.value, TTL: p.ttl, Refresh: refresh, PrevValue: p.prevValue, PrevIndex: prevIndex}
	default:
		return store.Set{Key: key, Value: p.value, Dir: p.dir, TTL: p.ttl, Refresh: refresh}
	}
}
