package protocol

import (
	"bytes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
)

// A bundle is a file by which members carry to each other what a sync would send: frames
// in sealed chunks of one size, behind a head with the key to them. It tells nobody else
// of which group it is, who made it, for whom, or how many they are.

const (
	bundleLine  = "p2pchat/1 bundle\n"
	bundlePlain = 0x80 // in the shape: boxes are X25519, not hybrid
	pointLock   = 32 + gcmOverhead
	boxTag      = 8
	// bundleBoxes is the least number of boxes, so that a file for one is not told from one
	// for a small group.
	bundleBoxes = MaxSeated
	// bundlePlace is what a chunk begins with: twice its number, and 1 if it is the last.
	bundlePlace = 8
)

// BundleRoom is what fits a chunk: the longest frame, with its length. Frames begin at
// chunks, so that a damaged one costs no other.
const BundleRoom = 65 << 10

// BundleChunk is the length of every chunk of a bundle in a file.
const BundleChunk = bundlePlace + BundleRoom + gcmOverhead

// BundleReaders are who can open a bundle: who knows one of the rendezvous secrets, and
// who has the private half of one of the prekeys. Only these get secrets of epochs from
// it: whoever learned a rendezvous secret once must not learn what came after it.
type BundleReaders struct {
	Points  []Secret // at most [MaxBundlePoints] count
	Prekeys [][]byte // at most [MaxBundleBoxes] count
}

// BundleKey seals and opens what is in one bundle.
type BundleKey struct {
	chunks  cipher.AEAD
	secrets cipher.AEAD // nil for who opened it by a rendezvous secret
}

// Format keeps the key out of output.
func (BundleKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "redacted") }

// bundleKey returns the keys that follow from a bundle's secret, which devices get. Who
// knows a rendezvous secret gets framesSecret, and so the key of the chunks alone.
func bundleKey(secret Secret, group ID, salt []byte) BundleKey {
	k := framesKey(framesSecret(secret, salt), group, salt)
	k.secrets = gcm(secretsKey(secret, group, salt))
	return k
}

func framesKey(frames Secret, group ID, salt []byte) BundleKey {
	return BundleKey{chunks: gcm(chunksKey(frames, group, salt))}
}

func framesSecret(secret Secret, salt []byte) Secret {
	return deriveSecret(secret[:], salt, "p2pchat/1 bundle frames")
}

func secretsKey(secret Secret, group ID, salt []byte) []byte {
	return derive(secret[:], salt, 32, "p2pchat/1 bundle secrets", group[:])
}

func chunksKey(frames Secret, group ID, salt []byte) []byte {
	return derive(frames[:], salt, 32, "p2pchat/1 bundle chunks", group[:])
}

func pointKey(n Secret, group ID, salt []byte) cipher.AEAD {
	return gcm(derive(n[:], salt, 32, "p2pchat/1 bundle point", group[:]))
}

func bundleBoxInfo(group ID, salt []byte, prekey ID) []byte {
	return slices.Concat([]byte("p2pchat/1 bundle box"), group[:], salt, prekey[:])
}

// bundleTag is by which somebody finds their box: whoever knows the prekey can say that
// there is one for it, and nobody else.
func bundleTag(salt []byte, prekey ID) []byte {
	sum := hash("p2pchat/1 bundle tag", salt, prekey[:])
	return sum[:boxTag]
}

// SealBundle draws a bundle's key, and returns it with the head that it begins with.
// What stands where there are fewer readers than places is not told from a reader.
func SealBundle(group ID, to BundleReaders, random io.Reader) (head []byte, key BundleKey, err error) {
	secret, err := NewSecret(random)
	if err != nil {
		return nil, key, err
	}
	salt := make([]byte, 32)
	if _, err := io.ReadFull(random, salt); err != nil {
		return nil, key, err
	}
	to.Prekeys = to.Prekeys[:min(len(to.Prekeys), MaxBundleBoxes)]
	hybrid, log := len(to.Prekeys) <= HybridMost, bits.Len(uint(max(len(to.Prekeys), bundleBoxes)-1))
	shape := byte(log)
	if !hybrid {
		shape |= bundlePlain
	}
	head = append(append([]byte(bundleLine), salt...), shape)
	frames := framesSecret(secret, salt)
	for i := range MaxBundlePoints {
		lock := make([]byte, pointLock)
		if i < len(to.Points) {
			lock = pointKey(to.Points[i], group, salt).Seal(lock[:0], make([]byte, 12), frames[:], nil)
		} else if _, err := io.ReadFull(random, lock); err != nil {
			return nil, key, err
		}
		head = append(head, lock...)
	}
	boxes, err := bundleBoxer{group, salt, secret, hybrid}.seal(to.Prekeys, 1<<log, random)
	if err != nil {
		return nil, key, err
	}
	head = append(head, bytes.Join(boxes, nil)...)
	sum := sha256.Sum256(head)
	return append(head, sum[:]...), bundleKey(secret, group, salt), nil
}

// bundleBoxer seals a bundle's key to devices.
type bundleBoxer struct {
	group  ID
	salt   []byte
	secret Secret
	hybrid bool
}

// seal makes so many boxes, each behind its tag, in an order that says nothing. A prekey
// that is not one costs its owner the box and nobody else anything.
func (b bundleBoxer) seal(prekeys [][]byte, count int, random io.Reader) ([][]byte, error) {
	boxes := make([][]byte, 0, count)
	for _, public := range prekeys {
		part, err := PrekeyPart(public, b.hybrid)
		if err != nil {
			continue
		}
		if box, err := b.box(part); err == nil {
			boxes = append(boxes, box)
		}
	}
	noise, err := NewBoxKey(b.hybrid)
	if err != nil {
		return nil, err
	}
	for len(boxes) < count {
		box, err := b.box(noise.Public())
		if err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(random, box[:boxTag]); err != nil {
			return nil, err
		}
		boxes = append(boxes, box)
	}
	slices.SortFunc(boxes, bytes.Compare)
	return boxes, nil
}

func (b bundleBoxer) box(public []byte) ([]byte, error) {
	id := ID(sha256.Sum256(public))
	box, err := sealBox(b.hybrid, public, bundleBoxInfo(b.group, b.salt, id), b.secret[:])
	return append(bundleTag(b.salt, id), box...), err
}

// BundleHead is the head of a bundle, before somebody opens it.
type BundleHead struct {
	Damaged bool // it is not as it was written, and may open nevertheless
	hybrid  bool
	salt    []byte
	points  []byte
	boxes   []byte
}

// ReadBundleHead reads the head of a bundle. Errors: ErrBadFile.
func ReadBundleHead(in io.Reader) (BundleHead, error) {
	var h BundleHead
	line := make([]byte, len(bundleLine))
	switch n, err := io.ReadFull(in, line); {
	case cutShort(err) && bytes.HasPrefix([]byte(bundleLine), line[:n]):
		return h, fmt.Errorf("%w: it is cut short", ErrBadFile)
	case err != nil && !cutShort(err):
		return h, err
	case bytes.HasPrefix([]byte(requestHead), line), bytes.HasPrefix([]byte(welcomeHead), line):
		return h, fmt.Errorf("%w: by this file somebody joins; a bundle is asked for", ErrBadFile)
	case string(line) != bundleLine:
		return h, fmt.Errorf("%w: it does not begin with %q", ErrBadFile, bundleLine[:len(bundleLine)-1])
	}
	all := append(line, make([]byte, 32+1)...)
	if err := readHead(in, all[len(line):]); err != nil {
		return h, err
	}
	shape := all[len(all)-1]
	log, most := int(shape&^bundlePlain), bits.Len(MaxBundleBoxes-1)
	h.hybrid = shape&bundlePlain == 0
	if h.hybrid {
		most = bits.Len(HybridMost - 1)
	}
	if log > most {
		return h, fmt.Errorf("%w: its beginning is damaged", ErrBadFile)
	}
	fixed := len(all)
	all = append(all, make([]byte, MaxBundlePoints*pointLock+(boxTag+boxSize(h.hybrid))<<log+sha256.Size)...)
	if err := readHead(in, all[fixed:]); err != nil {
		return h, err
	}
	body := all[:len(all)-sha256.Size]
	sum := sha256.Sum256(body)
	h.Damaged = !bytes.Equal(all[len(body):], sum[:])
	h.salt = body[len(line) : fixed-1]
	h.points, h.boxes = body[fixed:fixed+MaxBundlePoints*pointLock], body[fixed+MaxBundlePoints*pointLock:]
	return h, nil
}

func cutShort(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

func readHead(in io.Reader, buf []byte) error {
	_, err := io.ReadFull(in, buf)
	if cutShort(err) {
		return fmt.Errorf("%w: it is cut short", ErrBadFile)
	}
	return err
}

// OpenPoint opens a bundle of a group with one of its rendezvous secrets.
func (h BundleHead) OpenPoint(group ID, n Secret) (BundleKey, bool) {
	aead := pointKey(n, group, h.salt)
	for lock := range slices.Chunk(h.points, pointLock) {
		if frames, err := openSecret(aead, make([]byte, 12), lock, nil); err == nil {
			return framesKey(frames, group, h.salt), true
		}
	}
	return BundleKey{}, false
}

// OpenBox opens a bundle of a group with the private half of a prekey.
func (h BundleHead) OpenBox(group ID, prekey Prekey) (BundleKey, bool) {
	hybridID, plainID := prekey.IDs()
	key, id := prekey.hybrid, hybridID
	if !h.hybrid {
		key, id = prekey.plain, plainID
	}
	tag := bundleTag(h.salt, id)
	for box := range slices.Chunk(h.boxes, boxTag+boxSize(h.hybrid)) {
		if !bytes.Equal(box[:boxTag], tag) {
			continue
		}
		if b, err := openBox(key, bundleBoxInfo(group, h.salt, id), box[boxTag:]); err == nil && len(b) == len(Secret{}) {
			return bundleKey(Secret(b), group, h.salt), true
		}
	}
	return BundleKey{}, false
}

// SealChunk seals what fits a chunk, [BundleRoom] bytes at most.
func (k BundleKey) SealChunk(number uint64, last bool, frames []byte) []byte {
	out := make([]byte, bundlePlace, BundleChunk)
	binary.BigEndian.PutUint64(out, placeOf(number, last))
	room := make([]byte, BundleRoom)
	copy(room, frames)
	return k.chunks.Seal(out, chunkNonce(out), room, nil)
}

func placeOf(number uint64, last bool) uint64 {
	if last {
		return number<<1 | 1
	}
	return number << 1
}

func chunkNonce(place []byte) []byte { return append(make([]byte, 4, 12), place[:bundlePlace]...) }

// OpenChunk opens a chunk wherever it stands in the file; number is where it would, in
// case that the damage is to what says so.
func (k BundleKey) OpenChunk(number uint64, chunk []byte) (at uint64, last bool, frames []byte, err error) {
	if len(chunk) != BundleChunk {
		return 0, false, nil, fmt.Errorf("chunk of %d bytes: %w", len(chunk), ErrSealBroken)
	}
	for _, place := range []uint64{binary.BigEndian.Uint64(chunk), placeOf(number, false), placeOf(number, true)} {
		nonce := chunkNonce(binary.BigEndian.AppendUint64(nil, place))
		if frames, err := k.chunks.Open(nil, nonce, chunk[bundlePlace:], nil); err == nil && place>>1 < MaxBundleChunks {
			return place >> 1, place&1 == 1, frames, nil
		}
	}
	return 0, false, nil, fmt.Errorf("chunk %d: %w", number, ErrSealBroken)
}

// ChunkFrames reads the frames of an opened chunk, which zeros follow, without those that
// may be ignored. After an error those before it are good.
func ChunkFrames(data []byte) ([]Frame, error) {
	var list []Frame
	for len(data) > 0 && data[0] != 0 {
		size, n := binary.Uvarint(data)
		if n <= 0 || size > uint64(len(data)-n) {
			return list, malformed("a frame goes beyond its chunk")
		}
		f, err := ParseFrame(data[n : n+int(size)])
		if err != nil {
			return list, err
		}
		if f.Kind%2 == 1 {
			list = append(list, f)
		}
		data = data[n+int(size):]
	}
	if len(bytes.Trim(data, "\x00")) > 0 {
		return list, malformed("there is more behind the frames of a chunk")
	}
	return list, nil
}

// BundleSecrets are secrets of epochs in a bundle, for those of its readers whom it is
// sealed to by a prekey.
type BundleSecrets struct {
	Number uint64 `cbor:"1,keyasint"` // of those in the bundle
	Box    []byte `cbor:"3,keyasint"`
}

func secretsNonce(number uint64) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, 4, 12), number)
}

// SealSecrets seals secrets that all who are meant may have. Each call takes another
// number.
func (k BundleKey) SealSecrets(number uint64, list []EpochSecret) BundleSecrets {
	return BundleSecrets{number, k.secrets.Seal(nil, secretsNonce(number), marshal(EpochSecrets{list}), nil)}
}

// OpenSecrets opens them, and returns none where the bundle was opened by a rendezvous
// secret. What they say is a claim, see [NewEpoch].
func (k BundleKey) OpenSecrets(s BundleSecrets) ([]EpochSecret, error) {
	if k.secrets == nil {
		return nil, nil
	}
	plain, err := k.secrets.Open(nil, secretsNonce(s.Number), s.Box, nil)
	if err != nil {
		return nil, fmt.Errorf("secrets in a bundle: %w", ErrSealBroken)
	}
	var list EpochSecrets
	if err := unmarshal(plain, &list); err != nil {
		return nil, fmt.Errorf("secrets in a bundle: %w", err)
	}
	return list.Epochs, nil
}
