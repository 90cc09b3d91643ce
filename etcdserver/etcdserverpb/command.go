package etcdserverpb

import "google.golang.org/protobuf/encoding/protowire"

// Most requests are commands. The generated code needs an object more for each of them,
// since a case of a oneof is an object of its own. So commands are encoded and decoded
// here, with the same bytes.

// Numbers of the fields of a Request.
const (
	timeField     protowire.Number = 1
	idField       protowire.Number = 2
	commandField  protowire.Number = 3
	sessionField  protowire.Number = 7
	finishedField protowire.Number = 8
)

// SizeOfCommand is how many bytes AppendCommand appends.
func SizeOfCommand(command []byte, session, finished uint64) int {
	size := 1 + protowire.SizeBytes(len(command))
	if session != 0 {
		size += 1 + protowire.SizeFixed64()
	}
	if finished != 0 {
		size += 1 + protowire.SizeVarint(finished)
	}
	return size
}

// AppendCommand appends a Request that is a command, without its id and its time.
func AppendCommand(b, command []byte, session, finished uint64) []byte {
	b = protowire.AppendTag(b, commandField, protowire.BytesType)
	b = protowire.AppendBytes(b, command)
	if session != 0 {
		b = protowire.AppendTag(b, sessionField, protowire.Fixed64Type)
		b = protowire.AppendFixed64(b, session)
	}
	if finished != 0 {
		b = protowire.AppendTag(b, finishedField, protowire.VarintType)
		b = protowire.AppendVarint(b, finished)
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
