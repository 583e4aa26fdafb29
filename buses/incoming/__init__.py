"""What comes in from buses: approved signals, and fills that a foreign connector reports.

A message is stored before it is acknowledged. Who may send what is a row that an operator made.
"""
