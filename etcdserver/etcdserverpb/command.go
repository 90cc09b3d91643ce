package etcdserverpb

import "google.golang.org/protobuf/encoding/protowire"

// Most requests are commands. The generated code needs an object more for each of them,
// since a case of a oneof is an object of its own. So commands are encoded and decoded
// here, with the same bytes.

// Numbers of the fields of a Request.
const (
	timeField      protowire.Number = 1
	idField        protowire.Number = 2
	commandField   protowire.Number = 3
	sessionField   protowire.Number = 7
	finishedField  protowire.Number = 8
	requesterField protowire.Number = 11
	tokenField     protowire.Number = 12
	revisionField  protowire.Number = 13
)

// Origin is where a command comes from.
type Origin struct {
	Session, Finished uint64
	Requester         string // "": a guest
	Token             []byte // nil: none
	AuthRevision      uint64
}

// SizeOfCommand is how many bytes AppendCommand appends.
func SizeOfCommand(command []byte, o Origin) int {
	size := 1 + protowire.SizeBytes(len(command))
	if o.Session != 0 {
		size += 1 + protowire.SizeFixed64()
	}
	if o.Finished != 0 {
		size += 1 + protowire.SizeVarint(o.Finished)
	}
	if o.Requester != "" {
		size += 1 + protowire.SizeBytes(len(o.Requester))
	}
	if len(o.Token) > 0 {
		size += 1 + protowire.SizeBytes(len(o.Token))
	}
	if o.AuthRevision != 0 {
		size += 1 + protowire.SizeVarint(o.AuthRevision)
	}
	return size
}

// AppendCommand appends a Request that is a command, without its id and its time.
func AppendCommand(b, command []byte, o Origin) []byte {
	b = protowire.AppendTag(b, commandField, protowire.BytesType)
	b = protowire.AppendBytes(b, command)
	if o.Session != 0 {
		b = protowire.AppendTag(b, sessionField, protowire.Fixed64Type)
		b = protowire.AppendFixed64(b, o.Session)
	}
	if o.Finished != 0 {
		b = protowire.AppendTag(b, finishedField, protowire.VarintType)
		b = protowire.AppendVarint(b, o.Finished)
	}
	if o.Requester != "" {
		b = protowire.AppendTag(b, requesterField, protowire.BytesType)
		b = protowire.AppendString(b, o.Requester)
	}
	if len(o.Token) > 0 {
		b = protowire.AppendTag(b, tokenField, protowire.BytesType)
		b = protowire.AppendBytes(b, o.Token)
	}
	if o.AuthRevision != 0 {
		b = protowire.AppendTag(b, revisionField, protowire.VarintType)
		b = protowire.AppendVarint(b, o.AuthRevision)
	}
	return b
}

// ReadCommand decodes a Request that is a command. r gets its other fields and no kind; the
// command is a part of data. ok is false for a Request with any other field, and for data
// that is no Request: UnmarshalVTUnsafe tells which.
func (r *Request) ReadCommand(data []byte) (command []byte, ok bool) {
	*r = Request{}
	for len(data) > 0 {
		field, wireType, n := protowire.ConsumeTag(data)
		if n < 0 {
			return nil, false
		}
		data = data[n:]
		switch {
		case field == commandField && wireType == protowire.BytesType:
			command, n = protowire.ConsumeBytes(data)
		case field == timeField && wireType == protowire.Fixed64Type:
			r.Time, n = protowire.ConsumeFixed64(data)
		case field == idField && wireType == protowire.Fixed64Type:
			r.Id, n = protowire.ConsumeFixed64(data)
		case field == sessionField && wireType == protowire.Fixed64Type:
			r.Session, n = protowire.ConsumeFixed64(data)
		case field == finishedField && wireType == protowire.VarintType:
			r.Finished, n = protowire.ConsumeVarint(data)
		case field == requesterField && wireType == protowire.BytesType:
			r.Requester, n = protowire.ConsumeString(data)
		case field == tokenField && wireType == protowire.BytesType:
			r.Token, n = protowire.ConsumeBytes(data)
		case field == revisionField && wireType == protowire.VarintType:
			r.AuthRevision, n = protowire.ConsumeVarint(data)
		default:
			return nil, false
		}
		if n < 0 {
			return nil, false
		}
		data = data[n:]
	}
	return command, len(command) > 0
}
