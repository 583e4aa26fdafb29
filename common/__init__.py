"""What every room stands on: codes, errors, clocks, money, fields, SQL access, embedded servers."""
