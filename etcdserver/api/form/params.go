package form

import (
	"strconv"

	"canopy/store"
)

// Params are the parameters of a keys request, parsed and checked.
type Params struct {
	Value            string
	PrevValue        string // "" = not compared
	PrevIndex        uint64 // 0 = not compared
	WaitIndex        uint64 // 0 = from now
	TTL              store.TTL
	PrevExist        Tristate
	Refresh          Tristate
	Dir              bool
	Recursive        bool
	Sorted           bool
	Quorum           bool
	Wait             bool
	Stream           bool
	NoValueOnSuccess bool
}

// A Tristate is a boolean that may be absent.
type Tristate uint8

// The values of a Tristate.
const (
	Absent Tristate = iota
	No
	Yes
)

// A check is one row of K16: the error of a request for which the rule does not hold.
type check struct {
	code  store.Code
	cause string
	rule  rule
	field fieldID // that the rule parses, if it parses one
}

// A rule is the condition of a check. Those of the first group also put the parsed field into Params.
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

// Parse parses the fields of a request. Its error is a *store.Error with index 0.
func (f *Fields) Parse(method string) (Params, error) {
	p := Params{}
	if f.present == 0 {
		return p, nil
	}
	p.Value = f.text[fieldValue]
	for i := range checks {
		c := &checks[i]
		if holds := c.rule <= isTTL && !f.has(c.field) || p.take(c, f.text[c.field], method); !holds {
			return Params{}, &store.Error{Code: c.code, Cause: c.cause}
		}
	}
	return p, nil
}

// take tells whether the rule of c holds for the text of its field, and stores the parsed field.
func (p *Params) take(c *check, text, method string) bool {
	var err error
	switch c.rule {
	case isNumber:
		*p.number(c.field), err = strconv.ParseUint(text, 10, 64)
	case isBoolean:
		*p.boolean(c.field), err = strconv.ParseBool(text)
	case isTristate:
		var b bool
		b, err = strconv.ParseBool(text)
		*p.tristate(c.field) = No
		if b {
			*p.tristate(c.field) = Yes
		}
	case isPrevValue:
		p.PrevValue = text
		return text != ""
	case isTTL:
		if text != "" {
			p.TTL.Set = true
			p.TTL.Seconds, err = strconv.ParseUint(text, 10, 64)
		}
	case waitsInGET:
		return !p.Wait || method == "GET"
	case refreshesWithoutValue:
		return p.Refresh != Yes || p.Value == ""
	case refreshesWithTTL:
		return p.Refresh != Yes || p.TTL.Set
	case refreshesWhatIs:
		return p.Refresh != Yes || !p.makes(method)
	}
	return err == nil
}

func (p *Params) number(id fieldID) *uint64 {
	if id == fieldPrevIndex {
		return &p.PrevIndex
	}
	return &p.WaitIndex
}

func (p *Params) boolean(id fieldID) *bool {
	switch id {
	case fieldRecursive:
		return &p.Recursive
	case fieldSorted:
		return &p.Sorted
	case fieldWait:
		return &p.Wait
	case fieldDir:
		return &p.Dir
	case fieldQuorum:
		return &p.Quorum
	case fieldStream:
		return &p.Stream
	default:
		return &p.NoValueOnSuccess
	}
}

func (p *Params) tristate(id fieldID) *Tristate {
	if id == fieldPrevExist {
		return &p.PrevExist
	}
	return &p.Refresh
}

// makes tells whether a request makes a node and does not change an existing one.
func (p *Params) makes(method string) bool {
	switch method {
	case "POST":
		return true
	case "PUT":
		kind := p.kind()
		return kind == kindCreate || kind == kindSet && p.Dir
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
func (p *Params) compares() bool { return p.PrevValue != "" || p.PrevIndex != 0 }

// kind is the table of K50; the first match counts.
func (p *Params) kind() putKind {
	switch {
	case p.PrevExist == No:
		return kindCreate
	case p.compares():
		return kindCompareAndSwap
	case p.PrevExist == Yes:
		return kindUpdate
	default:
		return kindSet
	}
}

// Command is the store command of PUT, POST or DELETE.
func (p *Params) Command(method string, key store.Key) store.Command {
	prevIndex := store.Index(p.PrevIndex)
	refresh := p.Refresh == Yes
	switch {
	case method == "POST":
		return store.CreateInOrder{Dir: key, Value: p.Value, AsDir: p.Dir, TTL: p.TTL}
	case method == "DELETE" && p.compares():
		return store.CompareAndDelete{Key: key, PrevValue: p.PrevValue, PrevIndex: prevIndex}
	case method == "DELETE":
		return store.Delete{Key: key, Dir: p.Dir, Recursive: p.Recursive}
	}
	switch p.kind() {
	case kindCreate:
		return store.Create{Key: key, Value: p.Value, Dir: p.Dir, TTL: p.TTL}
	case kindUpdate:
		return store.Update{Key: key, Value: p.Value, TTL: p.TTL, Refresh: refresh}
	case kindCompareAndSwap:
		return store.CompareAndSwap{Key: key, Value: p.Value, TTL: p.TTL, Refresh: refresh, PrevValue: p.PrevValue, PrevIndex: prevIndex}
	default:
		return store.Set{Key: key, Value: p.Value, Dir: p.Dir, TTL: p.TTL, Refresh: refresh}
	}
}
