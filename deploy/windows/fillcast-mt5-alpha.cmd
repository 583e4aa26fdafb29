@rem The worker of the MetaTrader 5 terminal "alpha" as a Windows service, by NSSM 2.24.
@rem Run once as administrator, with nssm.exe on the path. docs/metatrader5.md
@setlocal
set SERVICE=fillcast-mt5-alpha
nssm install %SERVICE% C:\fillcast\.venv\Scripts\python.exe -m celery -A config worker -Q mt5.alpha --pool threads --concurrency 4 -n mt5-alpha@%COMPUTERNAME% --without-gossip --without-mingle || exit /b 1
nssm set %SERVICE% AppDirectory C:\fillcast
nssm set %SERVICE% AppEnvironmentExtra FILLCAST_ENV_FILE=C:\fillcast\alpha.env "FILLCAST_MT5_TERMINAL=alpha=C:\mt5\alpha\terminal64.exe /portable"
nssm set %SERVICE% AppStopMethodConsole 45000
nssm set %SERVICE% AppExit Default Restart
nssm set %SERVICE% AppRestartDelay 10000
nssm set %SERVICE% AppStderr C:\fillcast\alpha-logs\worker.log
nssm set %SERVICE% AppRotateFiles 1
nssm set %SERVICE% AppRotateBytes 10485760
@rem The user of the terminal. NSSM does not prompt for the password: pass it here or set it in services.msc.
nssm set %SERVICE% ObjectName .\mt5-alpha %1
nssm start %SERVICE%
