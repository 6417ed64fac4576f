/* What zlib.h cannot say of its functions. */
uLong crc32(uLong crc, const Bytef *buf __size(len), uInt len);
uLong adler32(uLong adler, const Bytef *buf __size(len), uInt len);
int compress2(Bytef *dest __uninit __size(*destLen), uLongf *destLen, const Bytef *source __size(sourceLen), uLong sourceLen, int level __range(-1, 9));
int uncompress(Bytef *dest __uninit __size(*destLen), uLongf *destLen, const Bytef *source __size(sourceLen), uLong sourceLen);
const char *zlibVersion(void) __str;
