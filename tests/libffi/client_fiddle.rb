# SPDX-License-Identifier: MIT
# Ruby's fiddle on our libffi.so.8. TAP.
require 'fiddle'
require 'fiddle/import'

$n = $failed = 0
def check(name, ok)
  $n += 1
  $failed += 1 unless ok
  puts "#{ok ? 'ok' : 'not ok'} #{$n} - fiddle_#{name}"
end

unless File.read('/proc/self/maps').include?(File.realpath(ENV.fetch('FERRY_LIBFFI', '/dev/null')))
  puts '1..0 # SKIP fiddle does not use the shared libffi here'
  exit 0
end

module C
  extend Fiddle::Importer
  dlload 'libc.so.6', 'libm.so.6'
  extern 'double hypot(double, double)'
  extern 'float fabsf(float)'
  extern 'int toupper(int)'
  extern 'long strtol(char *, void *, int)'
  extern 'size_t strlen(char *)'
  extern 'int abs(int)'
  extern 'long labs(long)'
  extern 'double ldexp(double, int)'
  extern 'void qsort(void *, size_t, size_t, void *)'
  extern 'void *bsearch(void *, void *, size_t, size_t, void *)'
end

check 'doubles', C.hypot(3.0, 4.0) == 5.0
check 'float', C.fabsf(-1.5) == 1.5
check 'int', C.abs(-7) == 7
check 'long', C.labs(-(1 << 40)) == 1 << 40
check 'double_and_int', C.ldexp(1.5, 4) == 24.0
check 'string', C.strlen('twelve bytes') == 12
check 'negative_long', C.strtol('-77', nil, 10) == -77
check 'many_calls', (0...20000).all? { |i| C.toupper(97 + i % 26) == 65 + i % 26 }

compare = Class.new(Fiddle::Closure) do
  def call(a, b)
    a[0, 4].unpack1('l') <=> b[0, 4].unpack1('l')
  end
end.new(Fiddle::TYPE_INT, [Fiddle::TYPE_VOIDP, Fiddle::TYPE_VOIDP])
values = (0...300).map { |i| (i * 7919) % 1009 }
arr = Fiddle::Pointer[values.pack('l*')]
C.qsort(arr, 300, 4, compare)
check 'qsort_calls_back', arr[0, 1200].unpack('l*') == values.sort
key = Fiddle::Pointer[[values.sort[100]].pack('l')]
check 'bsearch_calls_back', C.bsearch(key, arr, 300, 4, compare)[0, 4].unpack1('l') == values.sort[100]

types = { INT: -5, LONG: -(1 << 40), SHORT: -300, CHAR: -7, DOUBLE: 2.25, FLOAT: 1.5, LONG_LONG: 1 << 50 }
types.each do |name, value|
  t = Fiddle.const_get("TYPE_#{name}")
  closure = Class.new(Fiddle::Closure) { def call(x) = x }.new(t, [t])
  check "#{name.downcase}_both_ways", Fiddle::Function.new(closure, [t], t).call(value) == value
end
d, i = Fiddle::TYPE_DOUBLE, Fiddle::TYPE_INT
sum = Class.new(Fiddle::Closure) { def call(*a) = a.sum.to_f }.new(d, [i, d] * 6)
check 'twelve_mixed_arguments', Fiddle::Function.new(sum, [i, d] * 6, d).call(*([1, 2.5] * 6)) == 21.0
puts "1..#{$n}"
exit($failed.zero? ? 0 : 1)
