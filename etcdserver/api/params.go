package api

import (
	"strconv"

	"canopy/store"
)

// params are the parameters of a keys request, parsed and checked.
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

// A tristate is a boolean that may be absent.
type tristate uint8

const (
	absent tristate = iota
	no
	yes
)

// A check is one row of K16: the error of a request for which the rule does not hold.
type check struct {
	code  store.Code
	cause string
	rule  rule
	field fieldID // that the rule parses, if it parses one
}

// A rule is the condition of a check. Those of the first group also put the parsed field into params.
type rule uint8

const (
	isNumber  rule = iota // decimal digits (K15); an empty number is a fault, an absent one is not
	isBoolean             // one of the spellings of K15, which are those of strconv
	isTristate
	isPrevValue
	isTTL // an empty one counts as absent (K60)

	waitsInGET
	refreshesWithoutValue
	refreshesWithTTL
	refreshesWhatIs // a refresh must not make a node
)

// checks are the rows of K16 from the second on, in their fixed order: the first that fails is reported, and all of them
// apply to every method. The last is ours: it refuses a refresh that would make a node (K71).
var checks = [...]check{
	{store.CodeIndexNotNumber, `invalid value for "prevIndex"`, isNumber, fieldPrevIndex},
	{store.CodeIndexNotNumber, `invalid value for "waitIndex"`, isNumber, fieldWaitIndex},
	{store.CodeInvalidField, `invalid value for "recursive"`, isBoolean, fieldRecursive},
	{store.CodeInvalidField, `invalid value for "sorted"`, isBoolean, fieldSorted},
	{store.CodeInvalidField, `invalid value for "wait"`, isBoolean, fieldWait},
	{store.CodeInvalidField, `invalid value for "dir"`, isBoolean, fieldDir},
	{store.CodeInvalidField, `invalid value for "quorum"`, isBoolean, fieldQuorum},
	{store.CodeInvalidField, `invalid value for "stream"`, isBoolean, fieldStream},
	{store.CodeInvalidField, `"wait" can only be used with GET requests`, waitsInGET, 0},
	{store.CodePrevValueEmpty, `"prevValue" cannot be empty`, isPrevValue, fieldPrevValue},
	{store.CodeInvalidField, `invalid value for "noValueOnSuccess"`, isBoolean, fieldNoValueOnSuccess},
	{store.CodeTTLNotNumber, `invalid value for "ttl"`, isTTL, fieldTTL},
	{store.CodeInvalidField, `invalid value for prevExist`, isTristate, fieldPrevExist},
	{store.CodeInvalidField, `invalid value for refresh`, isTristate, fieldRefresh},
	{store.CodeRefreshWithValue, `A value was provided on a refresh`, refreshesWithoutValue, 0},
	{store.CodeRefreshNoTTL, `No TTL value set`, refreshesWithTTL, 0},
	{store.CodeInvalidField, `invalid value for refresh`, refreshesWhatIs, 0},
}

// parse parses the fields of a request. Its error is a *store.Error with index 0.
func (f *fields) parse(method string) (params, error) {
	p := params{}
	if f.present == 0 {
		return p, nil
	}
	p.value = f.text[fieldValue]
	for i := range checks {
		c := &checks[i]
		if holds := c.rule <= isTTL && !f.has(c.field) || p.take(c, f.text[c.field], method); !holds {
			return params{}, &store.Error{Code: c.code, Cause: c.cause}
		}
	}
	return p, nil
}

// take tells whether the rule of c holds for the text of its field, and stores the parsed field.
func (p *params) take(c *check, text, method string) bool {
	var err error
	switch c.rule {
	case isNumber:
		*p.number(c.field), err = strconv.ParseUint(text, 10, 64)
	case isBoolean:
		*p.boolean(c.field), err = strconv.ParseBool(text)
	case isTristate:
		var b bool
		b, err = strconv.ParseBool(text)
		*p.tristate(c.field) = no
		if b {
			*p.tristate(c.field) = yes
		}
	case isPrevValue:
		p.prevValue = text
		return text != ""
	case isTTL:
		if text != "" {
			p.ttl.Set = true
			p.ttl.Seconds, err = strconv.ParseUint(text, 10, 64)
		}
	case waitsInGET:
		return !p.wait || method == "GET"
	case refreshesWithoutValue:
		return p.refresh != yes || p.value == ""
	case refreshesWithTTL:
		return p.refresh != yes || p.ttl.Set
	case refreshesWhatIs:
		return p.refresh != yes || !p.makes(method)
	}
	return err == nil
}

func (p *params) number(id fieldID) *uint64 {
	if id == fieldPrevIndex {
		return &p.prevIndex
	}
	return &p.waitIndex
}

func (p *params) boolean(id fieldID) *bool {
	switch id {
	case fieldRecursive:
		return &p.recursive
	case fieldSorted:
		return &p.sorted
	case fieldWait:
		return &p.wait
	case fieldDir:
		return &p.dir
	case fieldQuorum:
		return &p.quorum
	case fieldStream:
		return &p.stream
	default:
		return &p.noValueOnSuccess
	}
}

func (p *params) tristate(id fieldID) *tristate {
	if id == fieldPrevExist {
		return &p.prevExist
	}
	return &p.refresh
}

// makes tells whether a request makes a node and does not change an existing one.
func (p *params) makes(method string) bool {
	switch method {
	case "POST":
		return true
	case "PUT":
		kind := p.kind()
		return kind == kindCreate || kind == kindSet && p.dir
	}
	return false
}

// A putKind is what a PUT does.
type putKind uint8

const (
	kindSet putKind = iota
	kindCreate
	kindUpdate
	kindCompareAndSwap
)

// compares tells whether the write depends on the present node. A prevIndex of 0 counts as absent (K63).
func (p *params) compares() bool { return p.prevValue != "" || p.prevIndex != 0 }

// kind is the table of K50; the first match counts.
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

// command is the store command of PUT, POST or DELETE.
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
